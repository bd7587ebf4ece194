//! Questions from other processes of this machine: a Unix socket that takes a line and gives one.
//!
//! ```text
//!   ask ── connect ── line ──▶ a thread of its own ── `answer` ── line ──▶ closed
//! ```
//!
//! For the control plane, where waiting is allowed. No shard hears of it.
//!
//! # What is always true
//!
//! 1. Whoever hangs, sends rubbish or goes away holds up nobody else: each connection has a thread, of which there are at
//!    most `CONNECTIONS_MAX`, for as long as its question takes to come and its answer takes to be made.
//! 2. Only the user whose process listens can connect: the socket has its mode before it has its name.
//! 3. The path may be longer than a socket's address: the folder is named by its descriptor.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::io::with_context;

/// The longest question: anybody may send rubbish.
const QUESTION_BYTES_MAX: u64 = 64 << 10;

/// The longest answer. It comes from a process of the same user, and may tell of thousands of tasks.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Questions that are answered at a time; others are closed at once.
const CONNECTIONS_MAX: usize = 16;

/// How long the bytes of a question may let wait for themselves, and a reader of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    /// Device and number of the socket's file.
    file: (u64, u64),
    is_over: Arc<AtomicBool>,
}

/// Listens at `path` and answers each line with what `answer` makes of it. A socket that is there is replaced: whoever
/// listens must own the folder.
///
/// # Errors
///
/// If there is something else than a socket, or the system refuses.
pub fn listen(
    path: &Path,
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> io::Result<Listener> {
    listen_at(path, Arc::new(answer))
        .map_err(|error| with_context(format_args!("listen at {}", path.display()), error))
}

type Answer = Arc<dyn Fn(&str) -> String + Send + Sync>;

fn listen_at(path: &Path, answer: Answer) -> io::Result<Listener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not a socket"));
        }
        _ => {}
    }
    let (folder, name) = parts(path)?;
    let temporary = format!("{name}.tmp");
    let _ = fs::remove_file(path.with_file_name(&temporary));
    let listener = UnixListener::bind(short(&folder, &temporary))?;
    let bound = path.with_file_name(&temporary);
    let named = fs::set_permissions(&bound, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&bound, path))
        .and_then(|()| fs::symlink_metadata(path));
    let file = named.inspect_err(|_| drop(fs::remove_file(&bound)))?;
    let is_over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_over);
    let accepts = move || accept(&listener, &seen, &answer);
    thread::Builder::new().name("control-socket".to_owned()).spawn(accepts)?;
    Ok(Listener { path: path.to_owned(), file: (file.dev(), file.ino()), is_over })
}

fn accept(listener: &UnixListener, is_over: &AtomicBool, answer: &Answer) {
    let open = Arc::new(AtomicUsize::new(0));
    while !is_over.load(Ordering::SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10)); // No descriptors left, for now.
            continue;
        };
        if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX || is_over.load(Ordering::SeqCst)
        {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (now_open, answer) = (Arc::clone(&open), Arc::clone(answer));
        let converses = move || {
            // Who is gone before the answer needs none.
            let _ = converse(&stream, &answer);
            now_open.fetch_sub(1, Ordering::SeqCst);
        };
        let started = thread::Builder::new().name("control-answer".to_owned()).spawn(converses);
        if started.is_err() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn converse(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = read_line(stream, QUESTION_BYTES_MAX)?;
    let mut answer = answer(&line);
    answer.push('\n');
    (&*stream).write_all(answer.as_bytes())
}

fn read_line(stream: &UnixStream, bytes_max: u64) -> io::Result<String> {
    let mut line = Vec::new();
    BufReader::new(stream).take(bytes_max).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no whole line came"));
    }
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = connect(&self.path);
        // Another process may have taken the folder since.
        let file = fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        if file.is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Asks whoever listens at `path`, and waits for the answer as long as it takes.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] if nobody listens; `UnexpectedEof` if no answer came.
pub fn ask(path: &Path, line: &str) -> io::Result<String> {
    debug_assert!(!line.contains('\n'), "a line is one line");
    let asked = connect(path).and_then(|stream| {
        (&stream).write_all(format!("{line}\n").as_bytes())?;
        read_line(&stream, ANSWER_BYTES_MAX)
    });
    asked.map_err(|error| with_context(format_args!("ask {}", path.display()), error))
}

/// Waits until nobody listens at `path` any more: until what was asked has ended.
pub fn wait_until_gone(path: &Path) {
    while connect(path).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let (folder, name) = parts(path)?;
    UnixStream::connect(short(&folder, name))
}

/// The folder of a path, opened, and the name in it.
fn parts(path: &Path) -> io::Result<(File, &str)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "it has no name that is text");
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(invalid)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((File::open(folder.unwrap_or(Path::new(".")))?, name))
}

/// The address of a name in a folder.
fn short(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(path: &Path) -> Listener {
        listen(path, |line| format!("you said {line}")).expect("a socket")
    }

    #[test]
    fn a_line_is_answered_with_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        // Longer than an address may be.
        let deep = folder.path().join("x".repeat(120));
        fs::create_dir(&deep).expect("a disk");
        let path = deep.join("_control");
        let nobody = ask(&path, "hello").expect_err("nobody listens");
        assert_eq!(nobody.kind(), io::ErrorKind::NotFound);
        let listener = echo(&path);
        let mode = fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(ask(&path, "hello").ok().as_deref(), Some("you said hello"));
        // One that says nothing, one that goes away, one that has too much to say.
        let silent = connect(&path).expect("it listens");
        drop(connect(&path).expect("it listens"));
        let mut talker = connect(&path).expect("it listens");
        let _ = talker.write_all(&vec![b'x'; QUESTION_BYTES_MAX as usize + 1]);
        let mut answer = String::new();
        let _ = talker.read_to_string(&mut answer);
        assert_eq!(answer, "");
        assert_eq!(ask(&path, "again").ok().as_deref(), Some("you said again"));
        let waits = thread::spawn({
            let path = path.clone();
            move || wait_until_gone(&path)
        });
        drop((silent, listener));
        waits.join().expect("it is gone");
        assert!(!path.exists());
    }

    #[test]
    fn an_answer_may_be_longer_than_a_question() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("_control");
        let bytes = 5 << 20;
        let _listener = listen(&path, move |_| "x".repeat(bytes)).expect("a socket");
        assert_eq!(ask(&path, "all").expect("an answer").len(), bytes);
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("_control");
        drop(UnixListener::bind(&path).expect("a socket")); // Its file stays.
        let refused = ask(&path, "hello").expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let first = echo(&path);
        let second = echo(&path);
        drop(first);
        assert_eq!(ask(&path, "x").ok().as_deref(), Some("you said x"), "the second one's stays");
        drop(second);
        fs::write(&path, "a letter").expect("a disk");
        assert!(listen(&path, str::to_owned).is_err());
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("a letter"));
    }
}
