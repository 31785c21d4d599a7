//! The gateway's release binary as a process of its own, and what the system tells of it.

use super::Failure;
use super::connection::Connection;
use super::form::{ACCOUNT_SID, AUTH_TOKEN, OWNER};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// The key of its REST API.
const ADMIN_API_KEY: &str = "key-of-the-bench-alone";
/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// The unit of CPU times in `/proc` (USER_HZ, which is 100 on all of Linux' usual machines: proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// A running gateway; dropping it ends it and removes its files.
pub struct Server {
    child: Child,
    folder: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// What its webhooks' addresses begin with.
    pub base_url: String,
}

/// Resident memory.
pub struct Memory {
    /// At this moment, in bytes.
    pub now: u64,
    /// The most so far, in bytes.
    pub peak: u64,
}

impl Server {
    /// Starts the gateway with a new database, `model` as its model, and `settings` besides. When this returns it is
    /// ready, and [`OWNER`] belongs to a user, so that no webhook makes a user of its own.
    pub async fn start(model: SocketAddr, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        // Beside the build, not in the temporary folder: that may lie in memory, where a durable write costs nothing.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let base_url = format!("http://{address}");
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .env_clear()
            .envs([
                ("HOST", "127.0.0.1"),
                ("PORT", &address.port().to_string()),
                ("PUBLIC_BASE_URL", &base_url),
                ("DATABASE_URL", "sqlite://./bench.db"),
                ("ADMIN_API_KEY", ADMIN_API_KEY),
                ("TWILIO_ACCOUNT_SID", ACCOUNT_SID),
                ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
                ("OPENAI_BASE_URL", &format!("http://{model}/v1")),
            ])
            .envs(settings.iter().copied())
            .current_dir(&folder)
            .stdout(File::create(folder.join("out.log"))?)
            .stderr(File::create(folder.join("err.log"))?)
            .spawn()?;
        let mut server = Self { child, folder, address, base_url };
        server.wait_until_ready().await?;
        server.create_owner().await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the gateway ended with {status}:\n{}", self.log()).into());
            }
            if let Ok(mut connection) = Connection::open(self.address).await
                && connection.exchange(request.as_bytes()).await.is_ok_and(|answer| answer.status() == Some(200))
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("the gateway did not answer in {PATIENCE:?}:\n{}", self.log()).into())
    }

    async fn create_owner(&self) -> Result<(), Failure> {
        let body = format!(r#"{{"username":"bench","phone_number":"{OWNER}"}}"#);
        let request = format!(
            "POST /users/ HTTP/1.1\r\nHost: {}\r\nX-API-Key: {ADMIN_API_KEY}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.exchange(request.as_bytes()).await?;
        if answer.status() != Some(201) {
            return Err(format!("the user was not made: {answer}").into());
        }
        Ok(())
    }

    /// User and system time of all its threads so far, those that have ended included.
    pub fn cpu_time(&self) -> Result<Duration, Failure> {
        let stat = fs::read_to_string(self.proc("stat"))?;
        // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it: proc(5).
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u32 = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<_, _>>()?;
        Ok(TICK * ticks)
    }

    /// Its resident memory.
    pub fn memory(&self) -> Result<Memory, Failure> {
        let status = fs::read_to_string(self.proc("status"))?;
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
            let kibibytes = value.and_then(|value| value.trim().parse::<u64>().ok());
            kibibytes.map(|value| value * 1024).ok_or_else(|| format!("no {name} in /proc"))
        };
        Ok(Memory { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }

    /// Ends it in good order.
    pub fn stop(mut self) -> Result<(), Failure> {
        let status = self.terminate()?;
        if !status.success() {
            return Err(format!("the gateway ended with {status} on SIGTERM:\n{}", self.log()).into());
        }
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    fn terminate(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        self.child.wait()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// The last lines it wrote.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("err.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.terminate() {
            eprintln!("The gateway with the process id {} could not be ended: {error}", self.child.id());
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}
