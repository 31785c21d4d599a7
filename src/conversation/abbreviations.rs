//! What a full stop may stand after without ending a sentence, by language.

/// The abbreviations of a language, without their last full stop and separated by blanks. One in lower case is known
/// with a capital too. Single letters ("z. B.", "J. R. Tolkien") need no entry.
#[derive(Debug)]
pub(super) struct Abbreviations {
    language: &'static str,
    /// A sentence never ends with these: "Dr. Smith".
    pub(super) never_last: &'static str,
    /// A sentence may end with these: it goes on before a word in lower case or a number ("No. 5").
    pub(super) may_be_last: &'static str,
    /// What a full stop after a number means.
    pub(super) ordinals: Ordinals,
}

/// What a number of one or two digits, or a Roman one, with a full stop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordinals {
    /// The end of a sentence.
    None,
    /// An ordinal if a word in lower case follows: "3. maja".
    BeforeLowerCase,
    /// An ordinal: "3. Mai".
    Always,
}

/// The abbreviations of a base language ("en", "zh"); none for a language without any.
pub(super) fn of(language: &str) -> &'static Abbreviations {
    TABLE.iter().find(|known| known.language == language).unwrap_or(&OTHER)
}

static OTHER: Abbreviations = Abbreviations {
    language: "",
    never_last: "Mr Mrs Ms Dr Prof e.g i.e vs",
    may_be_last: "etc a.m p.m No",
    ordinals: Ordinals::None,
};

static TABLE: [Abbreviations; 12] = [
    Abbreviations {
        language: "en",
        never_last: "Mr Mrs Ms Messrs Dr Prof St Mt Ft Gen Col Capt Lt Sgt Rev Hon Gov Sen Rep Pres e.g i.e eg ie vs cf \
                     approx viz pp Nos tel incl excl esp",
        may_be_last: "etc a.m p.m al Jr Sr Inc Ltd Co Corp Bros Ave Blvd Rd Hwy Dept dept est min mins max hr hrs sec secs ft oz \
                      lb lbs Ph.D U.S U.K U.S.A U.N D.C No no Fig fig vol ch sec art ext pg Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "de",
        never_last: "Dr Hr Hrn Fr Frl Prof Dipl Ing Nr ca bzw vgl z.B d.h u.a i.d.R o.ä s.o s.u bspw evtl ggf inkl exkl zzgl \
                     abzgl mind Tel St Mio Mrd Jan Feb Aug Sept Okt Nov Dez Mo Di Mi Do Sa Bd Abs Kap allg sog \
                     gem geb verh tägl ungef",
        may_be_last: "usw etc Str str Std Min Sek Co v.Chr n.Chr u.Ä dgl max min Art",
        ordinals: Ordinals::Always,
    },
    Abbreviations {
        language: "es",
        never_last: "Sr Sra Srta Sres Dr Dra Ud Uds Vd Vds D.ª Dña Prof Profa Lic Ing Arq Av Avda p.ej ej aprox núm Núm EE \
                     Sto Sta c/ pág págs art",
        may_be_last: "h etc UU a.m p.m a.C d.C min máx EE.UU Cía S.A No no cap vol ext tel",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "fr",
        never_last: "MM Mme Mmes Mlle Mlles Dr Pr Me St Ste p.ex env av bd tél cf c.-à-d pp chap janv févr juil sept oct \
                     nov déc",
        may_be_last: "h etc min max apr J.-C No no ex art vol",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "it",
        never_last: "Sig Sigg Sig.ra Sig.na Dott Dott.ssa Prof Prof.ssa Avv Ing Arch Geom Gent Egr Spett On ca p.es es tel pag \
                     pagg cfr art cap vol",
        may_be_last: "h ecc a.C d.C S.p.A min max No",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "pt",
        never_last: "Sr Sra Srta Srs Dr Dra Drs Prof Profa Eng Exmo Exma Av p.ex aprox tel núm pág págs art cap vol Sto Sta",
        may_be_last: "h etc a.m p.m a.C d.C min máx Ltda Cia No no ex",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "nl",
        never_last: "dhr mevr mw dr drs ir ing prof mr St bijv b.v d.w.z dwz o.a m.n i.p.v t.o.v a.u.b evt incl excl ca \
                     nr tel blz resp jl",
        may_be_last: "enz etc e.d v.Chr n.Chr jan feb mrt apr jun jul aug sept okt nov dec bv max min",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "pl",
        never_last: "np ul al pl os tzn tj tzw m.in dr hab prof mgr inż ks św nr tel wg ww sz woj pow gm str \
                     płk por",
        may_be_last: "itd itp r p.n.e n.e tys mln mld zł gr min sek godz ok",
        ordinals: Ordinals::BeforeLowerCase,
    },
    Abbreviations {
        language: "sv",
        never_last: "t.ex t.o.m fr.o.m bl.a dvs d.v.s kl ca s.k p.g.a nr tel resp ev inkl exkl jfr Dr Prof S:t",
        may_be_last: "osv o.s.v m.m m.fl e.d etc f.Kr e.Kr min max st",
        ordinals: Ordinals::BeforeLowerCase,
    },
    Abbreviations {
        language: "tr",
        never_last: "Dr Sn Prof Doç Av Yrd Uzm Op Alb Gen Hz No Tel Mah Cad Sok Sk Apt Blv bkz örn yakl krş",
        may_be_last: "vb vs vd vesaire Ltd Şti A.Ş dk sn sa M.Ö M.S",
        ordinals: Ordinals::Always,
    },
    Abbreviations {
        language: "ru",
        never_last: "ул просп пер наб пл бул стр кв корп оф тел ст напр см ср св т.е т.к т.н проф акад доц гр обл",
        may_be_last: "г гг в вв руб коп тыс млн млрд мин сек д п т.д т.п др пр н.э р",
        ordinals: Ordinals::None,
    },
    Abbreviations {
        language: "hi",
        never_last: "डॉ श्री प्रो पं कु सुश्री रु Dr Mr Mrs",
        may_be_last: "आदि etc",
        ordinals: Ordinals::None,
    },
];

impl Abbreviations {
    /// Whether `list`, one of this language's, holds a word.
    pub(super) fn holds(list: &str, word: &str) -> bool {
        list.split(' ').any(|known| {
            known == word
                || word.chars().next().is_some_and(|first| {
                    let rest = &word[first.len_utf8()..];
                    first.is_uppercase()
                        && known.strip_suffix(rest).is_some_and(|start| first.to_lowercase().eq(start.chars()))
                })
        })
    }
}
