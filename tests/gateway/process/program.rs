//! The program as an operator starts it: its own working directory, and no variable but those that are given.

use crate::support::wait::{PATIENCE, until};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty folder.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("switchboard-process-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it; the file's path.
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a sub-command to its end: its exit status, and what it printed on standard output and error.
    pub async fn run(&self, command: &str, settings: &[(&str, &str)]) -> (i32, String, String) {
        let mut program = Program::start(self, command, settings);
        let status = program.ends().await;
        (status.code().unwrap_or(-1), program.printed(), program.logged())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A running program; it is killed when the test is over.
pub struct Program {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Program {
    /// Starts the program with these settings alone.
    pub fn start(folder: &Folder, command: &str, settings: &[(&str, &str)]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        program.env_clear().envs(settings.iter().copied()).current_dir(folder.path());
        program.args(command.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let (stdout, stderr) = (gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    /// Starts `serve` on a free port and waits until it listens.
    pub async fn serve(folder: &Folder, settings: &[(&str, &str)]) -> Self {
        let settings = [&[("PORT", "0")], settings].concat();
        let program = Self::start(folder, "", &settings);
        until(|| program.printed().contains("To stop: "), || program.printed() + &program.logged()).await;
        program
    }

    /// The address it says it listens on.
    pub fn base(&self) -> String {
        let printed = self.printed();
        let address = printed.split("listens on ").nth(1).and_then(|rest| rest.split_whitespace().next());
        address.unwrap_or_else(|| panic!("no address: {printed}")).to_owned()
    }

    /// Standard output so far.
    pub fn printed(&self) -> String {
        String::from_utf8(self.stdout.lock().unwrap().clone()).unwrap()
    }

    /// Standard error so far.
    pub fn logged(&self) -> String {
        String::from_utf8(self.stderr.lock().unwrap().clone()).unwrap()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits for its end, and for all it said.
    pub async fn ends(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            let over = self.child.try_wait().unwrap();
            // The threads that read hold the other references.
            if let Some(status) =
                over.filter(|_| Arc::strong_count(&self.stdout) + Arc::strong_count(&self.stderr) == 2)
            {
                return status;
            }
            assert!(started.elapsed() < PATIENCE * 2, "it does not end: {}{}", self.printed(), self.logged());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn gather(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let gathered = Arc::new(Mutex::new(Vec::new()));
    let all = gathered.clone();
    std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut some) {
            all.lock().unwrap().extend_from_slice(&some[..count]);
        }
    });
    gathered
}
