//! The emulated ESP32-C3 runs what was written for the board, and answers as the desktop does.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]
#![cfg(all(unix, feature = "flash"))]

#[path = "../support/golden.rs"]
mod golden;
mod line;
mod measure;
mod settings;
mod store;
mod talk;
mod usb;

use engine::arena::CachePrecision;
use engine::format::Packed;
use engine::sampler::Sampling;
use engine::workers::Host;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use whittle::board::Board;
use whittle::compress::compress;
use whittle::job::Job;
use whittle::link::emulated::{Activity, Line, Machine};
use whittle::link::{BoardQuestion, Client, FakeBoard, Image, Part, Reset, prebuilt};
use whittle::model::Model;
use whittle::packed::{Answer, Conversation, PackedModel, PrefixChoice, PrefixText, Question};
use whittle::recipe::Recipe;

/// Instructions of the longest test; what does not end is stopped here.
const MOST_INSTRUCTIONS: u64 = 2_000_000_000;
/// Ample on a machine that does other work too.
const SOON: Duration = Duration::from_secs(3);

fn running(flash: Vec<u8>) -> FakeBoard {
    FakeBoard::holding(flash).unwrap()
}

fn client(board: &FakeBoard) -> Client {
    Client::open(board.port(), Reset::None).unwrap()
}

fn question(prompt: &str) -> BoardQuestion<'_> {
    BoardQuestion {
        prompt,
        max_tokens: 0,
        context: 0,
        sampling: Sampling::GREEDY,
    }
}

fn go_on(_: &str) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn golden_path() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/packed");
    folder.join("llama-4bit.snap.whittle")
}

fn image(model: &[u8]) -> Image {
    let board = Board::find("esp32-c3").unwrap();
    Image::new(board, prebuilt(board).unwrap(), model).unwrap()
}

/// The flash of a board that this image was written to.
fn flash(image: &Image) -> Vec<u8> {
    let mut flash = vec![0xFF; usize::try_from(image.flash_bytes).unwrap()];
    for segment in &image.segments {
        let at = segment.address as usize;
        flash[at..at + segment.bytes.len()].copy_from_slice(&segment.bytes);
    }
    flash
}

/// A machine, and all that it has said.
struct Console {
    machine: Machine,
    said: String,
}

impl Console {
    fn boot(flash: Vec<u8>) -> Self {
        let mut console = Self {
            machine: Machine::boot(flash, BTreeMap::new()),
            said: String::new(),
        };
        console.run();
        console
    }

    /// Until it waits for a byte or does nothing more.
    fn run(&mut self) {
        loop {
            let activity = self.machine.run(10_000_000);
            let bytes = self.machine.take_sent(Line::Uart);
            self.said += &String::from_utf8_lossy(&bytes);
            match activity {
                Activity::Waiting | Activity::Ended | Activity::Restarted => return,
                Activity::Busy if self.said.contains("whittle: panic") => return,
                Activity::Busy => {}
            }
            assert!(
                self.machine.instructions() < MOST_INSTRUCTIONS,
                "{}",
                self.said
            );
        }
    }

    fn ask(&mut self, prompt: &str) {
        self.machine
            .receive(Line::Uart, format!("{prompt}\n").as_bytes());
        self.run();
    }

    /// What follows `whittle: NAME ` on every line that starts so.
    fn all(&self, name: &str) -> Vec<&str> {
        let start = format!("whittle: {name} ");
        self.said
            .lines()
            .filter_map(|line| line.strip_prefix(start.as_str()))
            .collect()
    }

    /// Fails unless the last thing said is this.
    fn assert_ends(&self, sentence: &str) {
        assert!(self.said.trim_end().ends_with(sentence), "{}", self.said);
    }

    /// Fails unless the board computed just what this answer says.
    fn assert_equals(&self, answer: &Answer) {
        assert_eq!(
            self.all("logits"),
            [format!("{:016x}", answer.logits_hash.0)],
            "{}",
            self.said
        );
        let tokens = self.all("token").into_iter();
        let tokens: Vec<u32> = tokens
            .map(|line| line.split(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(tokens, answer.tokens, "{}", self.said);
    }
}

/// The desktop's answer by its own settings.
fn desktop(packed: &PackedModel, prompt: &str) -> Answer {
    desktop_drawing(packed, prompt, Sampling::GREEDY, 256)
}

fn desktop_drawing(
    packed: &PackedModel,
    prompt: &str,
    sampling: Sampling,
    max_tokens: usize,
) -> Answer {
    let mut conversation = Conversation::new(packed, packed.view().shape().context as usize);
    let question = Question {
        system: None,
        user: prompt,
        max_tokens,
        sampling,
        stop: &[],
    };
    conversation
        .ask(packed, &Host::serial(), &question, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap()
}

fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
    Model::load(&folder, &Job::silent()).unwrap()
}

/// With keys and values of 8 bits, those of the opening in flash.
fn packed_by(model: &Model, recipe: &Recipe) -> PackedModel {
    let job = Job::silent();
    let compressed = compress(model, recipe, &job).unwrap();
    let choice = PrefixChoice {
        text: PrefixText::OfTemplate,
        cache: CachePrecision::Eight,
    };
    PackedModel::pack_with_prefix(model, &compressed, choice, &Host::serial(), &job).unwrap()
}

fn hearth() -> PackedModel {
    let model = model();
    let recipe = Recipe::open("balanced-4bit").unwrap();
    let compressed = compress(&model, &recipe, &Job::silent()).unwrap();
    PackedModel::pack(&model, &compressed, &Job::silent()).unwrap()
}

#[test]
fn hearth_answers_on_the_chip_as_on_the_desktop_however_it_is_typed() {
    let packed = hearth();
    let mut console = Console::boot(flash(&image(packed.bytes())));
    console.assert_ends("whittle: ready");
    console.ask("Turn ON the kitchen light!");
    console.assert_ends("whittle: ready");
    let answer = desktop(&packed, "Turn ON the kitchen light!");
    assert!(
        answer.text.starts_with("HassTurnOn@area kitchen"),
        "{}",
        answer.text
    );
    console.assert_equals(&answer);
}

#[test]
fn every_golden_model_answers_on_the_chip_as_on_the_desktop() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/packed");
    for (name, file) in golden::files(&folder) {
        let path = scratch.path().join("golden.whittle");
        std::fs::write(&path, &file).unwrap();
        let packed = PackedModel::open(&path, &Job::silent()).unwrap();
        let mut console = Console::boot(flash(&image(&file)));
        console.assert_ends("whittle: ready");
        console.ask(golden::PROMPT);
        assert!(
            console.said.contains("whittle: done"),
            "{name}: {}",
            console.said
        );
        console.assert_equals(&desktop(&packed, golden::PROMPT));
    }
}

fn golden_file() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/packed");
    golden::files(&folder).remove(0).1
}

fn start_of(image: &Image, part: Part) -> usize {
    let segment = image
        .segments
        .iter()
        .find(|segment| segment.part == part)
        .unwrap();
    segment.address as usize
}

#[test]
fn a_damaged_model_is_refused_by_the_firmware() {
    let image = image(&golden_file());
    let model = start_of(&image, Part::Model);
    let check = |damage: &dyn Fn(&mut [u8]), sentence: &str| {
        let mut flash = flash(&image);
        damage(&mut flash[model..]);
        let console = Console::boot(flash);
        assert!(console.said.contains(sentence), "{}", console.said);
    };
    let length = golden_file().len();
    let last = Packed::parse(&golden_file())
        .unwrap()
        .entries()
        .last()
        .unwrap()
        .offset;
    check(&|flash| flash[last] ^= 1, "refused: tensor ");
    check(&|flash| flash[..4096].fill(0xFF), "refused: ");
    // A write that was stopped: the rest of the partition is erased.
    check(&|flash| flash[length / 2..].fill(0xFF), "refused: ");
}

#[test]
fn a_missing_partition_is_refused_by_the_firmware() {
    let image = image(&golden_file());
    let mut flash = flash(&image);
    let table = start_of(&image, Part::PartitionTable);
    let entry = (0..10).map(|index| table + 32 * index);
    let entry = entry.into_iter().find(|at| {
        flash[*at..].starts_with(&[0xAA, 0x50]) && flash[at + 12..].starts_with(b"model")
    });
    // Another name, and no digest behind the table that would tell.
    flash[entry.unwrap() + 12] = b'M';
    flash[entry.unwrap() + 32..entry.unwrap() + 64].fill(0xFF);
    let console = Console::boot(flash);
    assert!(
        console
            .said
            .contains("refused: no model partition in the flash"),
        "{}",
        console.said
    );
}

#[test]
fn what_the_bootloader_would_refuse_is_not_started() {
    let image = image(&golden_file());
    let check = |damage: &dyn Fn(&mut [u8]), sentence: &str| {
        let mut flash = flash(&image);
        damage(&mut flash);
        Console::boot(flash).assert_ends(sentence);
    };
    let firmware = start_of(&image, Part::Firmware);
    let table = start_of(&image, Part::PartitionTable);
    check(&|flash| flash.fill(0xFF), "invalid header: 0xffffffff");
    check(
        &|flash| flash[table] = 0,
        "Failed to verify partition table",
    );
    check(
        &|flash| flash[table + 40] ^= 1,
        "Failed to verify partition table",
    );
    check(
        &|flash| flash[firmware] = 0,
        "has invalid magic byte (nothing flashed here?)",
    );
    check(
        &|flash| flash[firmware + 12] = 9,
        "is for chip 9, this is chip 5",
    );
    check(
        &|flash| flash[firmware + 0x5000] ^= 1,
        "has a wrong checksum",
    );
    // Two bits of the same place in two bytes: the checksum holds, the hash does not.
    check(
        &|flash| {
            flash[firmware + 0x5000] ^= 1;
            flash[firmware + 0x5001] ^= 1;
        },
        "Image hash failed - image is corrupt",
    );
}
