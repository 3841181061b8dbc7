//! A PostgreSQL server of the test's own: made in a temporary folder, on a free loopback port, gone on drop.
//!
//! Library tests find it as `crate::test_postgres`; others include it with `#[path = "support/postgres.rs"] mod postgres;`.
//! It needs `initdb` and `pg_ctl`, in `PATH` or
//! where Debian puts them. As root the server runs as `postgres` or `nobody`, since it refuses to run as root.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// See the module.
#[derive(Debug)]
pub struct TestPostgres {
    folder: TempDir,
    programs: PathBuf,
    user: Option<String>,
    port: u16,
    runs: bool,
}

impl TestPostgres {
    /// A running server with an empty database; `None`, with a printed note, where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("note: PostgreSQL is not installed; this test is left out");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut user = None;
        // Only root can own what root has made.
        if folder.path().metadata().expect("the folder is there").uid() == 0 {
            let (name, uid) = ["postgres", "nobody"].into_iter().find_map(|name| Some((name, uid(name)?)))?;
            chown(folder.path(), Some(uid), None).expect("root may give its folder away");
            user = Some(name.to_owned());
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let mut server = Self { folder, programs, user, port, runs: false };
        let data = server.folder.path().join("data");
        let data = data.to_str().expect("temporary folders have plain names");
        server.run("initdb", &["-D", data, "-U", "reveil", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        server.start_again();
        Some(server)
    }

    /// After [`Self::stop`], on the same port with the same data.
    pub fn start_again(&mut self) {
        let options = format!(
            "-F -p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' -c timezone=Asia/Tokyo",
            self.port,
            self.folder.path().display()
        );
        let (data, log) = (self.folder.path().join("data"), self.folder.path().join("log"));
        let plain = |path: &PathBuf| path.to_str().expect("temporary folders have plain names").to_owned();
        self.run("pg_ctl", &["-D", &plain(&data), "-w", "-o", &options, "-l", &plain(&log), "start"]);
        self.runs = true;
    }

    /// As a crash would, connections and all.
    pub fn stop(&mut self) {
        if std::mem::take(&mut self.runs) {
            let data = self.folder.path().join("data");
            self.run("pg_ctl", &["-D", data.to_str().expect("a plain name"), "-m", "immediate", "-w", "stop"]);
        }
    }

    /// Of the database `postgres`, on loopback.
    pub fn uri(&self) -> String {
        format!("postgresql://reveil@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let path = self.programs.join(program);
        let mut command = match &self.user {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
        };
        // Not a pipe: the server would keep it open.
        let status = command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.expect("the program starts").success(), "{program} failed");
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.into_iter().find(|folder| Path::is_file(&folder.join("initdb")))
}

fn uid(user: &str) -> Option<u32> {
    let output = Command::new("id").args(["-u", user]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
