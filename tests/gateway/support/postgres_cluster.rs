//! A throw-away PostgreSQL cluster that ends with the process that started it, however that ends.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Makes the cluster, runs its server and waits for the end of its own standard input, which comes when the test
/// process ends, be it by return, panic, signal or kill: the system then closes the other end of the pipe. Has a
/// process group of its own, so that an interrupt from the keyboard does not end it before its work. `$1` is the folder
/// of the programs, `$2` that of the cluster, `$3` the port.
const WATCHDOG: &str = r#"
trap : HUP INT TERM
# In the clear over loopback: hashed passwords would cost each connection of a debug build many milliseconds.
# Small and few segments of the log of writes, which would otherwise grow to a gigabyte.
"$1/initdb" --pgdata="$2/data" --username=postgres --encoding=UTF8 --locale=C --no-sync --wal-segsize=4 \
    --auth=password --pwfile="$2/password" >"$2/log" 2>&1 || echo "FATAL: initdb failed" >>"$2/log"
"$1/postgres" -D "$2/data" -c listen_addresses=127.0.0.1 -c port="$3" -c unix_socket_directories= \
    -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c autovacuum=off \
    -c max_connections=300 -c shared_buffers=32MB -c max_wal_senders=0 -c wal_level=minimal \
    -c min_wal_size=8MB -c max_wal_size=64MB \
    >>"$2/log" 2>&1 &
server=$!
read -r end
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
"#;

/// A running cluster.
pub struct Cluster {
    url: String,
    directory: PathBuf,
    /// Held open for as long as the process lives; its end is the watchdog's sign.
    _lifeline: ChildStdin,
}

impl Cluster {
    /// Makes and starts a cluster with the programs of a folder; takes about a second.
    pub fn start(programs: &Path) -> Result<Self, String> {
        // Someone else may take the port after it was found free.
        let mut fault = String::new();
        for _ in 0..3 {
            let directory = new_directory().map_err(|error| format!("no folder for PostgreSQL: {error}"))?;
            match Self::start_in(&directory, programs) {
                Ok(cluster) => return Ok(cluster),
                Err(error) => fault = error,
            }
            let _ = fs::remove_dir_all(&directory);
        }
        Err(format!("PostgreSQL is installed in {} and does not start: {fault}", programs.display()))
    }

    /// The URL of the server's own database `postgres`, with its superuser and password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn start_in(directory: &Path, programs: &Path) -> Result<Self, String> {
        let owner = owner(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let password = uuid::Uuid::now_v7().simple().to_string();
        let password_file = directory.join("password");
        fs::write(&password_file, &password).map_err(|error| format!("{}: {error}", password_file.display()))?;
        if let Some((user, group)) = owner {
            chown(&password_file, Some(user), Some(group)).map_err(|error| format!("the password file: {error}"))?;
        }
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut watchdog = Command::new("sh");
        if let Some((user, group)) = owner {
            watchdog.uid(user).gid(group);
        }
        let mut watchdog = watchdog
            .args(["-c", WATCHDOG, "postgres-watchdog"])
            .args([programs, directory])
            .arg(port.to_string())
            // The log is searched below, so its words must be English.
            .env("LC_ALL", "C")
            // Where any user may stand.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let lifeline = watchdog.stdin.take().ok_or("sh has no standard input")?;
        if let Err(fault) = wait_until_ready(directory) {
            drop(lifeline);
            let _ = watchdog.wait();
            return Err(fault);
        }
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
        Ok(Self { url, directory: directory.to_owned(), _lifeline: lifeline })
    }
}

/// The folder with `initdb` and `postgres`: on the `PATH`, where `pg_config` says, or where the distributions put it.
pub fn find_programs(path: &str) -> Option<PathBuf> {
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let on_path = std::env::split_paths(path);
    let configured = Command::new("pg_config").arg("--bindir").output().ok().into_iter();
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    on_path.chain(configured).find(complete).or_else(|| {
        // Debian keeps every version in a folder named by its number.
        let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
        let mut versions: Vec<_> =
            fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()).collect();
        versions.sort_by_key(version);
        versions.into_iter().rev().map(|folder| folder.join("bin")).find(complete)
    })
}

/// A new folder, open to nobody else, under `/tmp`: unlike the folder that `TMPDIR` may name, the server's user can
/// reach it whoever runs the tests.
fn new_directory() -> io::Result<PathBuf> {
    let directory = Path::new("/tmp").join(format!("switchboard-postgres-{}", uuid::Uuid::now_v7().simple()));
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(directory)
}

/// PostgreSQL refuses to run as root. Where root runs the tests, the folder is given to another user, whose ids these
/// are.
fn owner(directory: &Path) -> io::Result<Option<(u32, u32)>> {
    if fs::metadata(directory)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let owner = ids("postgres").or_else(|| ids("nobody"));
    let (user, group) = owner.ok_or_else(|| io::Error::other("neither a user postgres nor a user nobody"))?;
    chown(directory, Some(user), Some(group))?;
    Ok(Some((user, group)))
}

/// A free port below those that the system hands out itself: one of those would often be taken, by the fakes and their
/// many clients in other tests, before the server comes to use it.
fn free_port() -> io::Result<u16> {
    let start = 20_000 + (uuid::Uuid::now_v7().as_u128() % 12_000) as u16;
    let mut ports = (start..32_000).chain(20_000..start);
    let free = ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    free.ok_or_else(|| io::Error::other("all of 20000 to 31999 are taken"))
}

/// The eighth line of `postmaster.pid` is the server's state: what `pg_ctl --wait` looks at, too.
fn wait_until_ready(directory: &Path) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let state = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
        if state.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
            return Ok(());
        }
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        if log.contains("FATAL:") || Instant::now() > deadline {
            return Err(log);
        }
        sleep(Duration::from_millis(10));
    }
}
