//! The program for boards that run Linux, in an emulator of an aarch64 processor: it answers as the desktop does.
//!
//! Left out where the toolchain or the emulator is missing: `scripts/install-test.sh` installs both.

use crate::boards::golden;
use crate::models::installed;
use crate::required::required;
use engine::arena::CachePrecision;
use engine::format::Packed;
use engine::sampler::Sampling;
use protocol::{Ask, Event, FRAME_BYTES, Received, Receiver, Request, Stop, decode, encode};
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver as Lines, channel};
use std::time::{Duration, Instant};
use whittle::board::Board;
use whittle::compress::compress;
use whittle::job::Job;
use whittle::link::{BoardQuestion, BoardTurn, Bundle, Client, Reset, ask_board, prove};
use whittle::model::Model;
use whittle::packed::{PackedModel, PrefixChoice, PrefixText};
use whittle::recipe::Recipe;

const EMULATOR: &str = "qemu-aarch64";
/// What `scripts/build-firmware.sh` exits with where no toolchain is installed.
const NO_TOOLCHAIN: i32 = 3;
/// What the program ends with to be started again.
const TRY_AGAIN: i32 = 75;
/// How long the program may take to check a small model, emulated, and how much of a larger one it checks in a second, beside
/// other work.
pub(crate) const START: Duration = Duration::from_secs(120);
const CHECKED_BYTES_PER_SECOND: u64 = 4_000_000;
/// How long it may say nothing.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program as `whittle flash --parts` hands it out, in this folder.
pub(crate) fn exported(folder: &Path, packed: &PackedModel) -> PathBuf {
    let board = Board::find("raspberry-pi-zero-2w").expect("a built-in board");
    let bundle = Bundle::new(board, None, packed).expect("a board that runs Linux");
    let parts = folder.join("parts");
    let bundle = bundle.expect("a program that comes along");
    bundle.write(&parts).expect("room for the folder");
    parts.join("whittle-linux")
}

pub(crate) fn emulator() -> Result<(), String> {
    match Command::new(EMULATOR).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{EMULATOR} is not installed")),
    }
}

/// The program, built from source; why it is not, where this machine cannot.
pub(crate) fn built() -> Result<PathBuf, String> {
    emulator()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-firmware.sh");
    let build = Command::new("sh")
        .arg(script)
        .arg("linux")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&build.stderr);
    if build.status.code() == Some(NO_TOOLCHAIN) {
        return Err(said.trim_end().to_owned());
    }
    assert!(build.status.success(), "the program does not build: {said}");
    let path = String::from_utf8(build.stdout).expect("a path in UTF-8");
    Ok(path.trim_end().into())
}

/// The program, running.
pub(crate) struct Running {
    child: Child,
    lines: Lines<String>,
    /// All that it said so far.
    pub(crate) said: Vec<String>,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts it with a model; it has said where it is.
    pub(crate) fn start(program: &Path, model: &[u8], line: &[&str]) -> Self {
        let emulator = Command::new(EMULATOR);
        Self::start_by(emulator, program, model, line)
    }

    /// The same on a machine whose files lie in `root`; what is not there is this computer's.
    pub(crate) fn start_on(root: &Path, program: &Path, model: &[u8], line: &[&str]) -> Self {
        let mut emulator = Command::new(EMULATOR);
        emulator.arg("-L").arg(root);
        Self::start_by(emulator, program, model, line)
    }

    fn start_by(mut emulator: Command, program: &Path, model: &[u8], line: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("model.whittle");
        fs::write(&file, model).expect("room for the model");
        let mut child = emulator
            .arg(program)
            .arg(&file)
            .args(line)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the emulator");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let whole = output.lines().map_while(Result::ok);
            // Nobody listens any more: the test has ended.
            whole
                .map(|line| send.send(line))
                .take_while(Result::is_ok)
                .count()
        });
        let mut running = Self {
            child,
            lines,
            said: Vec::new(),
            folder,
        };
        let more = Duration::from_secs(model.len() as u64 / CHECKED_BYTES_PER_SECOND);
        running.wait_for("whittle: ready", START + more);
        running
    }

    /// The file of its model.
    pub(crate) fn model_path(&self) -> PathBuf {
        self.folder.path().join("model.whittle")
    }

    /// Starts it once more when it has ended, as what watches over it does: an emulated program cannot start itself.
    pub(crate) fn start_when_ended(&mut self, program: &Path, line: &[&str]) {
        let ended = self.child.wait().expect("the emulator");
        assert_eq!(ended.code(), Some(TRY_AGAIN));
        let file = self.model_path();
        let again = Command::new(EMULATOR)
            .arg(program)
            .arg(&file)
            .args(line)
            .stdout(Stdio::null())
            .spawn();
        self.child = again.expect("the emulator");
    }

    fn wait_for(&mut self, line: &str, patience: Duration) {
        let start = Instant::now();
        while self.said.last().is_none_or(|last| last != line) {
            let left = patience.saturating_sub(start.elapsed());
            let said = self.lines.recv_timeout(left);
            let said = said.unwrap_or_else(|error| panic!("{error}; it said {:?}", self.said));
            self.said.push(said);
        }
    }

    /// Its pseudo-terminal, or where it listens.
    pub(crate) fn place(&self) -> &str {
        let first = self.said[0].strip_prefix("whittle: ").expect("its place");
        first
            .strip_prefix("listening on ")
            .or(first.strip_prefix("on "))
            .expect("its place")
    }

    /// The same as a port of the desktop's.
    pub(crate) fn port(&self) -> String {
        match self.place() {
            place if place.starts_with('/') => place.to_owned(),
            place => format!("tcp:{place}"),
        }
    }

    /// Ticks of the processor that it has taken, 100 a second.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        // After the name, which may hold spaces: state is field 3, user and system time are 14 and 15.
        let fields = stat.rsplit(") ").next().expect("a name in parentheses");
        let fields = fields.split(' ').skip(11).take(2);
        fields
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a host hears, of the events that the tests look at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Hello,
    NoModel(String),
    Token,
    Done(Stop, u64),
    Refused(String),
    /// The other side has closed the line.
    Closed,
}

/// A host at the program's socket.
pub(crate) struct Host {
    stream: TcpStream,
    receiver: Receiver,
    /// What came after the last event.
    left: Vec<u8>,
}

impl Host {
    pub(crate) fn connect(running: &Running) -> Self {
        let stream = TcpStream::connect(running.place()).expect("a listening program");
        let limit = Some(Duration::from_millis(100));
        stream.set_read_timeout(limit).expect("a limit");
        Self {
            stream,
            receiver: Receiver::new(),
            left: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, request: &Request<'_>) {
        let mut frame = [0; FRAME_BYTES];
        let bytes = encode(request, &mut frame).expect("a short request");
        self.stream.write_all(bytes).expect("a line that is open");
    }

    pub(crate) fn ask(&mut self, id: u32, prompt: &str, max_tokens: u32) {
        self.send(&Request::Ask(Ask {
            id,
            prompt,
            max_tokens,
            context: 0,
            sampling: Sampling::GREEDY.into(),
        }));
    }

    /// The next event, but for those of the prompt and of intents.
    pub(crate) fn next(&mut self) -> Heard {
        let start = Instant::now();
        loop {
            while !self.left.is_empty() {
                let byte = self.left.remove(0);
                let Some(Received::Frame(frame)) = self.receiver.push(byte) else {
                    continue;
                };
                match decode(frame).expect("an event") {
                    Event::Hello(hello) => match hello.model {
                        Ok(_) => return Heard::Hello,
                        Err(why) => return Heard::NoModel(why.to_owned()),
                    },
                    Event::Token { .. } => return Heard::Token,
                    Event::Done(done) => return Heard::Done(done.stop, done.hash),
                    Event::Refused { why, .. } => return Heard::Refused(why.to_owned()),
                    Event::Prompt { .. }
                    | Event::Intent { .. }
                    | Event::Cost { .. }
                    | Event::Memory { .. }
                    | Event::Measured(_)
                    | Event::Stored { .. } => {}
                }
            }
            assert!(start.elapsed() < PATIENCE, "nothing within {PATIENCE:?}");
            let mut room = [0; 4096];
            match self.stream.read(&mut room) {
                Ok(0) => return Heard::Closed,
                Ok(bytes) => self.left.extend(&room[..bytes]),
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                ),
            }
        }
    }

    /// The event that ends an answer.
    fn end(&mut self) -> Heard {
        loop {
            let heard = self.next();
            if heard != Heard::Token {
                return heard;
            }
        }
    }
}

/// Asks by the client that the desktop has.
pub(crate) fn ask(
    running: &Running,
    packed: &PackedModel,
    prompt: &str,
    max_tokens: u32,
) -> BoardTurn {
    let mut client = Client::open(&running.port(), Reset::None).expect("a line to it");
    let question = BoardQuestion {
        prompt,
        max_tokens,
        context: 0,
        sampling: Sampling::GREEDY,
    };
    let mut show = |_: &str| ControlFlow::Continue(());
    let job = Job::silent();
    let turn = ask_board(&mut client, &question, &job, &mut show).expect("an answer");
    let turn = turn.beside((packed, &[]), &question, &job);
    turn.expect("not cancelled")
}

pub(crate) fn hearth() -> PackedModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
    let model = Model::load(&folder, &Job::silent()).expect("a whole model");
    let recipe = Recipe::open("balanced-4bit").expect("a preset");
    let compressed = compress(&model, &recipe, &Job::silent()).expect("not cancelled");
    let choice = PrefixChoice {
        text: PrefixText::OfTemplate,
        cache: CachePrecision::Eight,
    };
    let host = engine::workers::Host::serial();
    PackedModel::pack_with_prefix(&model, &compressed, choice, &host, &Job::silent())
        .expect("a packed model")
}

pub(crate) const COMMAND: &str = "turn on the kitchen light";

/// The program that comes along, without a toolchain.
#[test]
fn hearth_answers_a_host_as_here_and_people_too() {
    let Some(()) = required(emulator()) else {
        return;
    };
    let packed = hearth();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = exported(folder.path(), &packed);
    let running = Running::start(&program, packed.bytes(), &["--pty"]);
    let turn = ask(&running, &packed, COMMAND, 24);
    assert_eq!(turn.same_here, Some(true), "{turn:?}");
    assert_eq!(turn.hello.board, "linux");
    let intent = turn.answer.intent.as_deref().expect("an intent line");
    assert!(intent.starts_with("HassTurnOn@area kitchen"), "{intent}");
    // Over a socket too, and what `whittle flash` asks of a board.
    let people = Running::start(&program, packed.bytes(), &["--listen", "127.0.0.1:0"]);
    let over_socket = ask(&people, &packed, COMMAND, 24);
    assert_eq!(over_socket.answer.text, turn.answer.text);
    assert_eq!(over_socket.same_here, Some(true), "{over_socket:?}");
    let mut client = Client::open(&people.port(), Reset::None).expect("a socket");
    prove(&mut client, &packed, &Job::silent()).expect("the same answer");
    drop(client);
    let mut person = TcpStream::connect(people.place()).expect("a listening program");
    person.set_read_timeout(Some(PATIENCE)).expect("a limit");
    person
        .write_all(b"turn on the kitchen light\n")
        .expect("an open line");
    let mut lines = BufReader::new(person)
        .lines()
        .map(|line| line.expect("a line in time"));
    let hash = lines.find_map(|line| line.strip_prefix("whittle: logits ").map(str::to_owned));
    assert_eq!(hash, Some(format!("{:016x}", turn.answer.logits_hash.0)));
}

/// Every encoding, by the kernels for NEON, on one thread and on several.
#[test]
fn it_gives_the_golden_answers() {
    let Some(program) = required(built()) else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let table = golden::read(&folder.join("packed/answers.snap"));
    let mut compared = 0;
    for (number, (name, file)) in golden::files(&folder.join("packed"))
        .into_iter()
        .enumerate()
    {
        let cache = Packed::parse(&file).expect("a golden file").cache();
        let expected = table
            .iter()
            .find(|row| (row.name.as_str(), row.cache) == (&name, cache));
        let expected = expected.expect("an answer of the file's own precision");
        let threads = ["1", "2", "3"][number % 3];
        let line = ["--threads", threads, "--listen", "127.0.0.1:0"];
        let running = Running::start(&program, &file, &line);
        let mut host = Host::connect(&running);
        host.ask(
            1,
            golden::PROMPT,
            u32::try_from(golden::MAX_TOKENS).expect("few"),
        );
        match host.end() {
            Heard::Done(_, hash) => assert_eq!(hash, expected.hash.0, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn one_host_is_answered_at_a_time_and_waiting_costs_nothing() {
    let Some(program) = required(built()) else {
        return;
    };
    let packed = hearth();
    let running = Running::start(&program, packed.bytes(), &["--listen", "127.0.0.1:0"]);
    let mut first = Host::connect(&running);
    first.send(&Request::Hello);
    assert_eq!(first.next(), Heard::Hello);

    let mut second = Host::connect(&running);
    match second.next() {
        Heard::Refused(why) => assert!(why.starts_with("another host is talking"), "{why}"),
        other => panic!("{other:?}"),
    }
    // Who was refused takes nothing away from who is there.
    second.send(&Request::Hello);
    first.ask(1, COMMAND, 4);
    assert!(matches!(first.end(), Heard::Done(Stop::Length, _)));

    // A host that leaves in the middle of an answer frees the board for the next.
    first.ask(2, COMMAND, 0);
    assert_eq!(first.next(), Heard::Token);
    drop((first, second));
    let mut third = Host::connect(&running);
    third.send(&Request::Hello);
    assert_eq!(third.next(), Heard::Hello);

    let before = running.ticks();
    std::thread::sleep(Duration::from_secs(2));
    let taken = running.ticks() - before;
    assert!(
        taken <= 2,
        "{taken} hundredths of a second of two that were waited"
    );
}

#[test]
fn what_it_cannot_do_is_told_in_one_sentence() {
    let Some(program) = required(built()) else {
        return;
    };
    let check = |arguments: &[&str], sentence: &str| {
        let output = Command::new(EMULATOR)
            .arg(&program)
            .args(arguments)
            .output();
        let output = output.expect("the emulator");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("whittle-linux: {sentence}");
        assert!(
            said.starts_with(&expected) && said.lines().count() == 1,
            "{said}"
        );
    };
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/packed/llama-4bit.snap.whittle");
    let model = model.to_str().expect("UTF-8");
    check(&[], "usage: ");
    check(&[model], "usage: ");
    check(&[model, "--pty", "--listen", "127.0.0.1:0"], "usage: ");
    check(
        &[model, "--listen", "0.0.0.0:7433"],
        "expected 127.0.0.1:PORT, found 0.0.0.0:7433",
    );
    check(
        &[model, "--pty", "--threads", "0"],
        "expected 1 to 256 threads, found 0",
    );
    check(&["no-such-file", "--pty"], "cannot read no-such-file: ");
    check(&["/dev", "--pty"], "cannot read /dev: expected a file");
    check(
        &[model, "--serial", "/dev/no-such-line"],
        "cannot open /dev/no-such-line: ",
    );
}

#[test]
fn smollm2_answers_as_here_and_is_cancelled() {
    let Some(program) = required(built()) else {
        return;
    };
    let Some(folder) = required(installed("smollm2-135m")) else {
        return;
    };
    let file = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let model = Model::load(&file, &Job::silent()).expect("a whole model");
    let recipe = Recipe::open("balanced-4bit").expect("a preset");
    let compressed = compress(&model, &recipe, &Job::silent()).expect("not cancelled");
    let packed = PackedModel::pack(&model, &compressed, &Job::silent()).expect("a packed model");

    let running = Running::start(&program, packed.bytes(), &["--pty"]);
    let turn = ask(&running, &packed, "Hi", 3);
    assert_eq!(turn.same_here, Some(true), "{turn:?}");
    println!("{turn:?}");
    drop(running);

    let running = Running::start(&program, packed.bytes(), &["--listen", "127.0.0.1:0"]);
    let mut host = Host::connect(&running);
    host.ask(1, "Tell me a long story.", 200);
    assert_eq!(host.next(), Heard::Token);
    host.send(&Request::Cancel);
    assert!(matches!(host.end(), Heard::Done(Stop::Cancelled, _)));
    host.ask(2, "Hi", 1);
    assert!(matches!(host.end(), Heard::Done(Stop::Length, _)));
}
