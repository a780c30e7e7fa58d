//! The control socket.
//!
//! One request per line, one answer per line, both JSON: `{"command":"status"}` gets `{"ok":{...}}` or
//! `{"error":"..."}`. A file that a request hands over ([`Request::body_octets`]) follows its line as it is. Requests, connections and waiting times are bounded: a client that hangs or babbles is
//! disconnected and disturbs nobody.
//!
//! The socket file of a server that was killed is taken over; that of a living one is an error, which also
//! keeps two servers from sharing one `data_dir`.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::door;
pub use crate::future::BoxFuture;

/// Longer requests are refused, in octets: lists of names and prefixes are long. Who may ask at all could stop this program, too.
pub const REQUEST_LEN_MAX_BYTES: u64 = 64 << 20;
/// Requests from this length on are read off the threads that answer.
const REQUEST_LONG_BYTES: usize = 64 << 10;
/// Clients at once; further ones wait.
const CONNECTIONS_MAX: usize = 16;
/// A client that neither asks nor reads is disconnected after this time, in seconds.
const IDLE_TIMEOUT_S: u64 = 10;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of everything, as [`super::status::Status`].
    Status,
    /// What is asked most, each as [`super::status::TopName`].
    TopNames,
    /// All mirrors, each as [`super::status::MirrorStatus`].
    MirrorList,
    /// The stored versions of a mirror, newest first.
    MirrorShow {
        /// Its zone.
        zone: String,
    },
    /// Asks a mirror's sources now, and waits for the outcome.
    MirrorRefresh {
        /// Its zone.
        zone: String,
    },
    /// Serves a version that a brake holds.
    MirrorAccept {
        /// The mirror's zone.
        zone: String,
        /// The version; may be left out where only one is held.
        serial: Option<u32>,
    },
    /// Serves an older version.
    MirrorRollback {
        /// The mirror's zone.
        zone: String,
        /// The version; left out, the one before the current.
        serial: Option<u32>,
    },
    /// Takes up a zone file, if it verifies and no brake holds it.
    MirrorImport {
        /// The mirror's zone.
        zone: String,
        /// Where the file is, for people and for what it includes. The server may not be able to open it: it runs as another
        /// user, with directories of its own.
        file: String,
        /// How many octets it has; they follow.
        octets: u64,
    },
    /// Clears the floor under the clock.
    ClockReset,
    /// Resolves a question and tells the way to its answer, as [`super::trace::TraceReport`].
    Trace {
        /// The name.
        name: String,
        /// The type, as in `AAAA` or `TYPE65`.
        rtype: String,
        /// CD: bogus data is shown.
        checking_disabled: bool,
        /// Asks with an empty memory, beside the one that clients use.
        afresh: bool,
    },
    /// Begins a report of what a cut-off from everything but a set of prefixes would leave; answered with a
    /// [`ReadinessProgress`](crate::drill::report::ReadinessProgress).
    Readiness {
        /// A list of names in the form of [`parse_list`](crate::drill::names::parse_list). Left out, what clients ask is judged.
        names: Option<String>,
        /// The cut-off.
        cut: CutAsked,
    },
    /// How far that report is; the report once it is there.
    ReadinessPoll {
        /// Which one.
        job: u64,
    },
    /// Begins a drill; answered with a [`DrillState`](crate::drill::report::DrillState).
    DrillStart {
        /// The cut-off.
        cut: CutAsked,
        /// Its end, in seconds.
        for_s: u64,
        /// Answers stay as they are.
        shadow: bool,
        /// It is given up when so many of a thousand questions more fail than before.
        abort_at_permille: u32,
    },
    /// Ends the drill.
    DrillStop,
    /// What the drill has shown, as [`DrillReport`](crate::drill::report::DrillReport).
    DrillReport,
    /// The answer cache in numbers.
    CacheStats,
    /// Forgets what was learned about a name: answers, delegations, failures, keys.
    CacheFlush {
        /// The name; the root stands for everything.
        name: String,
        /// Everything below it, too.
        #[serde(default)]
        tree: bool,
    },
}

impl Request {
    /// Octets that follow its line.
    pub fn body_octets(&self) -> u64 {
        match self {
            Request::MirrorImport { octets, .. } => *octets,
            _ => 0,
        }
    }
}

/// A cut-off, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutAsked {
    /// The servers of this zone.
    Zone(String),
    /// A set of the configuration, or prefixes with commas between them, or else what is in the file.
    Prefix {
        /// As the operator wrote it.
        list: String,
        /// What is in the file of that name, if there is one, in the form of [`parse_list`](crate::prefix_set::parse_list).
        file: Option<String>,
    },
    /// Everything but this set of the configuration.
    Isolation(String),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done; what there is to say about it.
    Ok(Value),
    /// It is not done; why.
    Error(String),
}

/// What follows a request's line, no more of it than was announced.
pub type Body<'a> = &'a mut (dyn AsyncRead + Send + Unpin);

/// Whoever carries requests out.
pub trait Commands: Send + Sync + 'static {
    /// Carries one out. What it leaves of the body is passed over.
    fn run<'a>(&'a self, request: Request, body: Body<'a>) -> BoxFuture<'a, Response>;
}

/// Reads so much of a body.
///
/// # Errors
/// It ends too early, or nothing more comes for a while.
pub async fn read_body(body: Body<'_>, octets: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let mut body = body.take(octets as u64);
    let idle = Duration::from_secs(IDLE_TIMEOUT_S);
    while read.len() < octets {
        read.reserve(octets - read.len());
        if timeout(idle, body.read_buf(&mut read)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(read)
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another server answers there.
    #[error("another holdfast answers at {0}; each server needs a data_dir of its own")]
    Taken(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{0} is in the way: it is no socket; remove it")]
    NoSocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot make the control socket {path}: {error}")]
    Bind {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The control socket of this server; dropping it closes and removes it.
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Opens the socket and serves it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Another server is there, or the socket cannot be made.
    pub fn start(path: &Path, commands: Arc<dyn Commands>) -> Result<Control, ControlError> {
        clear_the_way(path)?;
        let listener = bind(path).map_err(|error| ControlError::Bind {
            path: path.to_owned(),
            error,
        })?;
        Ok(Control {
            path: path.to_owned(),
            task: tokio::spawn(serve(listener, commands)),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

fn clear_the_way(path: &Path) -> Result<(), ControlError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ControlError::NoSocket(path.to_owned()));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ControlError::Taken(path.to_owned()));
    }
    fs::remove_file(path).map_err(|error| ControlError::Bind {
        path: path.to_owned(),
        error,
    })
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, commands: Arc<dyn Commands>) {
    door::serve(listener, "control socket", CONNECTIONS_MAX, move |stream| {
        let commands = commands.clone();
        async move {
            if let Err(error) = converse(stream, &*commands).await {
                tracing::debug!(%error, "control connection ends");
            }
        }
    })
    .await;
}

async fn converse(stream: UnixStream, commands: &dyn Commands) -> io::Result<()> {
    let idle = Duration::from_secs(IDLE_TIMEOUT_S);
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(REQUEST_LEN_MAX_BYTES);
        let length = timeout(idle, limited.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n');
        let response = match parsed(line).await {
            Ok(request) => {
                let mut body = (&mut lines).take(request.body_octets());
                let response = commands.run(request, &mut body).await;
                let mut passed = [0; 8192];
                while timeout(idle, body.read(&mut passed)).await?? > 0 {}
                response
            }
            Err(_) if !whole => Response::Error("the request is too long or cut short".into()),
            Err(error) => Response::Error(format!("not a request: {error}")),
        };
        let mut text = serde_json::to_vec(&response)?;
        text.push(b'\n');
        timeout(idle, write.write_all(&text)).await??;
        if !whole {
            return Ok(());
        }
    }
}

async fn parsed(line: Vec<u8>) -> serde_json::Result<Request> {
    if line.len() < REQUEST_LONG_BYTES {
        return serde_json::from_slice(&line);
    }
    let reading = tokio::task::spawn_blocking(move || serde_json::from_slice(&line)).await;
    reading.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client;

    struct Echo;

    impl Commands for Echo {
        fn run<'a>(&'a self, request: Request, body: Body<'a>) -> BoxFuture<'a, Response> {
            Box::pin(async move {
                if let Request::MirrorImport { zone, octets, .. } = &request {
                    // Of some only the beginning is looked at.
                    let wanted = zone.parse().unwrap_or(*octets as usize);
                    return match read_body(body, wanted).await {
                        Ok(read) => Response::Ok(String::from_utf8(read).unwrap().into()),
                        Err(error) => Response::Error(error.to_string()),
                    };
                }
                Response::Ok(serde_json::to_value(request).unwrap())
            })
        }
    }

    fn started(directory: &Path) -> (PathBuf, Control) {
        let path = directory.join("control.sock");
        let control = Control::start(&path, Arc::new(Echo)).unwrap();
        (path, control)
    }

    #[tokio::test]
    async fn answers_line_by_line_and_cleans_up() {
        let directory = tempfile::tempdir().unwrap();
        let (path, control) = started(directory.path());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let answer = client::ask(&path, &Request::Status).await.unwrap();
        assert_eq!(answer, serde_json::json!({"command": "status"}));
        drop(control);
        assert!(!path.exists());
        let error = client::ask(&path, &Request::Status).await.unwrap_err();
        assert!(error.to_string().contains("no holdfast answers"), "{error}");
    }

    #[tokio::test]
    async fn a_long_list_arrives_and_an_endless_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _control) = started(directory.path());
        let asked = |length: usize| Request::Readiness {
            names: Some("a.long.list.of.names\n".repeat(length / 21)),
            cut: CutAsked::Isolation("domestic".into()),
        };
        let request = asked(1 << 20);
        let echoed = client::ask(&path, &request).await.unwrap();
        assert_eq!(serde_json::from_value::<Request>(echoed).unwrap(), request);
        let endless = asked(REQUEST_LEN_MAX_BYTES as usize);
        assert!(client::ask(&path, &endless).await.is_err());
    }

    /// It arrives whole, whoever may open it; what is left of it is no request, and one that ends too early is no file.
    #[tokio::test]
    async fn a_file_is_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _control) = started(directory.path());
        let text = "{\"command\":\"status\"}\n".repeat(100_000);
        let file = directory.path().join("file");
        fs::write(&file, &text).unwrap();
        let hand_over = async |zone: &str, octets: usize| {
            let request = Request::MirrorImport {
                zone: zone.into(),
                file: "file".into(),
                octets: octets as u64,
            };
            let opened = fs::File::open(&file).unwrap();
            let answer = client::hand_over(&path, &request, opened).await;
            answer.map_err(|error| error.to_string())
        };
        assert_eq!(hand_over("all", text.len()).await.unwrap(), text.as_str());
        assert_eq!(hand_over("all", 22).await.unwrap(), &text[..22]);
        assert_eq!(hand_over("9", text.len()).await.unwrap(), &text[..9]);
        assert_eq!(hand_over("all", 0).await.unwrap(), "");
        let error = hand_over("all", text.len() + 1).await.unwrap_err();
        assert!(error.contains("end of file"), "{error}");
        // The next request of the same connection is found behind it.
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let import = r#"{"command":"mirror_import","zone":"1","file":"f","octets":3}"#;
        let both = format!("{import}\nabc{{\"command\":\"status\"}}\n");
        stream.write_all(both.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), r#"{"ok":"a"}"#);
        let status = lines.next_line().await.unwrap().unwrap();
        assert_eq!(status, r#"{"ok":{"command":"status"}}"#);
    }

    /// A file may have grown since it was announced: what is too much of it would be read as requests.
    #[tokio::test]
    async fn no_more_of_a_file_is_sent_than_was_announced() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = (
            directory.path().join("socket"),
            directory.path().join("file"),
        );
        fs::write(&file, "announced, and grown").unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = String::new();
            stream.read_to_string(&mut sent).await.unwrap();
            stream.write_all(b"{\"ok\":null}\n").await.unwrap();
            sent
        });
        let request = Request::MirrorImport {
            zone: "test.".into(),
            file: "file".into(),
            octets: 9,
        };
        let opened = fs::File::open(&file).unwrap();
        client::hand_over(&path, &request, opened).await.unwrap();
        let sent = server.await.unwrap();
        assert!(sent.ends_with("}\nannounced"), "{sent}");
    }

    #[tokio::test]
    async fn a_dead_servers_socket_is_taken_over_a_living_ones_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (path, _control) = started(path.parent().unwrap());
        let again = Control::start(&path, Arc::new(Echo));
        assert!(matches!(again, Err(ControlError::Taken(_))));
        let file = directory.path().join("file");
        fs::write(&file, "precious").unwrap();
        let on_file = Control::start(&file, Arc::new(Echo));
        assert!(matches!(on_file, Err(ControlError::NoSocket(_))));
        assert!(file.exists());
    }

    #[tokio::test]
    async fn nonsense_gets_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _control) = started(directory.path());
        let check = async |sent: Vec<u8>, expected: &str| {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(stream);
            reader.read_line(&mut line).await.unwrap();
            assert!(line.contains(expected), "{line}");
        };
        check(b"hello\n".to_vec(), "not a request").await;
        check(b"{\"command\":\"explode\"}\n".to_vec(), "not a request").await;
        check(b"{\"command\":\"status\",\"x\":1}\n".to_vec(), "").await;
        check(b"{\"command\":\"stat".to_vec(), "cut short").await;
        check(b"{\"command\":\"status\"}\n".to_vec(), "\"ok\"").await;
    }
}
