//! What Twilio's error codes of messages mean (twilio.com/docs/api/errors), for those that operators meet.

/// The meaning in words; `None` for a code that is not listed here.
pub fn meaning(code: i64) -> Option<&'static str> {
    let at = MEANINGS.binary_search_by_key(&code, |(code, _)| *code).ok()?;
    Some(MEANINGS[at].1)
}

/// In the order of the codes.
const MEANINGS: [(i64, &str); 56] = [
    (14101, "The receiver's address in the TwiML is not valid."),
    (14102, "The sender's address in the TwiML is not valid."),
    (14103, "The message is empty or longer than 1,600 characters."),
    (14107, "Messages to this receiver were sent too fast."),
    (14108, "The sender's number cannot send texts."),
    (14109, "The text was answered with more than ten messages."),
    (14111, "A trial account may only write to verified numbers."),
    (20003, "Twilio does not accept the account's credentials."),
    (20404, "Twilio does not know what was asked for."),
    (20429, "Too many requests were sent to Twilio at the same time."),
    (21211, "The receiver's number is not valid."),
    (21408, "The account is not allowed to write to the receiver's country."),
    (21602, "The message has no words."),
    (21603, "The message has no sender."),
    (21604, "The message has no receiver."),
    (21606, "The sender's number is not one of the account's, or cannot send texts."),
    (21608, "A trial account may only write to verified numbers."),
    (21610, "The receiver told this number to stop."),
    (21611, "Too many messages of this sender wait already."),
    (21612, "The receiver cannot be reached from this sender."),
    (21614, "The receiver's number is not a mobile number."),
    (21617, "The message is longer than 1,600 characters."),
    (30001, "Too many messages of this sender waited already."),
    (30002, "The account is suspended."),
    (30003, "The receiver's handset is switched off or out of reach."),
    (30004, "The receiver blocks the message."),
    (30005, "The receiver's number is not known or no longer in service."),
    (30006, "The receiver's number is a landline, or its carrier takes no texts."),
    (30007, "The carrier filtered the message as unwanted."),
    (30008, "The message was not delivered, for a reason that the carrier does not tell."),
    (30034, "The sender's number is not registered for texts to the United States (A2P 10DLC)."),
    (30044, "The message is longer than a trial account may send."),
    (30410, "The provider did not answer in time."),
    (30450, "The message was blocked."),
    (30454, "The account has sent as many messages as it may in a day."),
    (30630, "The receiver told this number to stop."),
    (63001, "The channel does not accept the sender's credentials."),
    (63003, "The channel does not know the receiver."),
    (63005, "The channel does not take what the message holds."),
    (63007, "The channel has no such sender."),
    (63012, "The channel's provider failed."),
    (63013, "The message breaks the channel's rules."),
    (63014, "The receiver blocks messages of this sender."),
    (63015, "The receiver has not joined the sandbox."),
    (63016, "The receiver's last message is over 24 hours old, and then the channel takes templates only."),
    (63018, "Messages were sent faster than the channel takes them."),
    (63019, "The channel could not fetch a picture or file."),
    (63021, "The channel does not take what the message holds."),
    (63024, "The receiver is not valid on this channel."),
    (63027, "The template does not exist in this language."),
    (63028, "The template has another number of values."),
    (63032, "The channel does not let the receiver be written to."),
    (63036, "The receiver cannot be reached by RCS."),
    (63038, "The account has sent as many messages as it may in a day."),
    (63049, "The channel chose not to deliver the message."),
    (63051, "The channel has locked the sender."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_code_is_found() {
        for (code, words) in MEANINGS {
            assert_eq!(meaning(code), Some(words), "{code} is not in its place");
        }
        assert_eq!(meaning(1), None);
    }
}
