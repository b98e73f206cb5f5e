//! A hub with a script: each connection gets the next reply.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// How the hub answers one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// As a hub should: the whole file, or the range that was asked for.
    Serve,
    /// As `Serve`, but the connection ends after so many bytes of the answer.
    Cut(usize),
    /// The whole file, whatever range was asked for.
    Whole,
    /// A range that begins one byte too early.
    WrongRange,
    /// Claims more bytes than the file has.
    ClaimLonger,
    /// Claims no length and sends one byte too many.
    SendLonger,
    /// As many bytes as the file has, but others.
    OtherBytes,
    /// Sends the client to the same path below `/elsewhere`.
    Redirect,
    /// This status and no file.
    Status(u16),
}

/// The hub's address, and what it will have been asked.
pub(crate) struct Server {
    pub(crate) base: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    /// Starts a hub that has `file` at every path.
    pub(crate) fn start(file: &[u8], replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let (file, replies) = (file.to_vec(), replies.to_vec());
        let thread = thread::spawn(move || {
            replies
                .iter()
                .map(|reply| answer(&listener.accept().expect("a client").0, &file, *reply))
                .collect()
        });
        Self { base, thread }
    }

    /// The requests, as `path` or `path from N`; waits until every reply was given.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().expect("a hub without errors")
    }
}

fn answer(stream: &TcpStream, file: &[u8], reply: Reply) -> String {
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line in ASCII"));
    let request = lines.next().expect("a request line");
    let path = request.split(' ').nth(1).expect("a path").to_owned();
    let headers: Vec<String> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_lowercase())
        .collect();
    let range = headers
        .iter()
        .find_map(|header| header.strip_prefix("range: bytes="));
    let start: usize = range.map_or(0, |range| {
        range.trim_end_matches('-').parse().expect("a number")
    });

    let (head, body) = response(&path, file, start.min(file.len()), reply);
    // A client that has seen enough closes the connection: not the hub's problem.
    let mut stream = stream;
    let _sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
    if start == 0 {
        path
    } else {
        format!("{path} from {start}")
    }
}

fn response(path: &str, file: &[u8], start: usize, reply: Reply) -> (String, Vec<u8>) {
    let length = file.len();
    let with = |status: &str, headers: &str, body: &[u8]| {
        (
            format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n"),
            body.to_vec(),
        )
    };
    let whole = |body: &[u8]| {
        with(
            "200 OK",
            &format!("Content-Length: {}\r\n", body.len()),
            body,
        )
    };
    let from = |first: usize, body: &[u8]| {
        let headers = format!(
            "Content-Length: {}\r\nContent-Range: bytes {first}-{}/{length}\r\n",
            body.len(),
            length - 1
        );
        with("206 Partial Content", &headers, body)
    };
    match reply {
        Reply::Serve if start == length => with(
            "416 Range Not Satisfiable",
            &format!("Content-Range: bytes */{length}\r\nContent-Length: 0\r\n"),
            b"",
        ),
        Reply::Serve if start > 0 => from(start, &file[start..]),
        Reply::Serve | Reply::Whole => whole(file),
        Reply::Cut(after) => {
            let (head, mut body) = response(path, file, start, Reply::Serve);
            body.truncate(after);
            (head, body)
        }
        Reply::WrongRange => from(start - 1, &file[start - 1..]),
        Reply::ClaimLonger => with(
            "200 OK",
            &format!("Content-Length: {}\r\n", length + 7),
            file,
        ),
        Reply::SendLonger => with("200 OK", "", &[file, b"!"].concat()),
        Reply::OtherBytes => whole(&file.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()),
        Reply::Redirect => with(
            "302 Found",
            &format!("Location: /elsewhere{path}\r\nContent-Length: 0\r\n"),
            b"",
        ),
        Reply::Status(status) => with(&format!("{status} No"), "Content-Length: 0\r\n", b""),
    }
}
