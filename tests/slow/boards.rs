//! The firmware, built from source, answers in an emulator as the desktop does.
//!
//! Left out where the toolchain or the emulator is missing: `scripts/install-test.sh` installs both.

#[path = "../support/golden.rs"]
pub(crate) mod golden;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use crate::models::installed;
use crate::required::required;
use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::sampler::{LogitsHash, Sampling};
use engine::shape::Role;
use engine::stamp::Stamp;
use engine::workers::{Host, SimdLevel};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tiny_model::{Head, Stored, TinyModel};
use whittle::compress::{CompressedTensor, compress};
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{
    Answer, Conversation, PackedModel, PrefixChoice, PrefixText, Question, WeightSource as _,
};
use whittle::recipe::{Precision, Recipe, Setting};
use whittle::workers::Processor;

/// Where the firmware expects the request and the model; see `firmware/boards/qemu-virt`.
const REQUEST_ADDRESS: &str = "0x81000000";
const MODEL_ADDRESS: &str = "0x88000000";
/// What `scripts/build-firmware.sh` exits with where no toolchain is installed.
const NO_TOOLCHAIN: i32 = 3;
const EMULATOR: &str = "qemu-system-riscv32";

/// The board: its firmware, and a folder for what it reads and writes.
struct Board {
    firmware: PathBuf,
    folder: tempfile::TempDir,
}

/// What the board's processor can do.
#[derive(Debug, Clone, Copy)]
enum Core {
    /// Integers only, like the ESP32-C3's.
    Integer,
    /// Floating point too.
    Float,
}

impl Core {
    fn target(self) -> &'static str {
        match self {
            Self::Integer => "riscv32imc-unknown-none-elf",
            Self::Float => "riscv32imafc-unknown-none-elf",
        }
    }
}

/// What is asked of the board.
struct Request<'a> {
    prompt: &'a str,
    max_tokens: u32,
    context: u32,
    /// Words of memory that it may use; 0 for all.
    memory_words: u32,
    /// Precision of keys and values; `None` for what the model was packed for.
    cache: Option<CachePrecision>,
}

/// What came out of the board.
#[derive(Debug)]
struct Run {
    console: String,
    code: Option<i32>,
}

impl Board {
    /// The board with a core of this kind, unless this machine cannot build for it or emulate it: then why.
    fn new(core: Core) -> Result<Self, String> {
        if Command::new(EMULATOR).arg("--version").output().is_err() {
            return Err(format!("{EMULATOR} is not installed"));
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-firmware.sh");
        let build = Command::new("sh")
            .arg(script)
            .args(["qemu-virt", core.target()])
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&build.stderr);
        if build.status.code() == Some(NO_TOOLCHAIN) {
            return Err(said.trim_end().to_owned());
        }
        assert!(
            build.status.success(),
            "the firmware does not build: {said}"
        );
        let path = String::from_utf8(build.stdout).expect("a path in UTF-8");
        Ok(Self {
            firmware: path.trim_end().into(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        })
    }

    fn run(&self, model: &[u8], request: &Request<'_>, limit: Duration) -> Run {
        let path = |name| self.folder.path().join(name);
        let (model_file, request_file, console) =
            (path("model.whittle"), path("request"), path("console"));
        let words = [
            u32::try_from(request.prompt.len()).expect("a short prompt"),
            request.max_tokens,
            request.context,
            BATCH,
            request.memory_words,
            u32::try_from(request.cache.map_or(0, CachePrecision::bits)).expect("16 at most"),
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.extend(request.prompt.as_bytes());
        fs::write(&model_file, model).expect("room for the model");
        fs::write(&request_file, bytes).expect("room for the request");
        let load = |file: &Path, address| {
            format!("loader,file={},addr={address},force-raw=on", file.display())
        };
        let mut emulator = Command::new(EMULATOR)
            .args(["-M", "virt", "-cpu", "rv32", "-m", "512M", "-bios", "none"])
            .args(["-display", "none", "-monitor", "none", "-icount", "shift=0"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(&self.firmware)
            .args(["-device", &load(&model_file, MODEL_ADDRESS)])
            .args(["-device", &load(&request_file, REQUEST_ADDRESS)])
            .spawn()
            .expect("the emulator");
        let start = Instant::now();
        let code = loop {
            if let Some(status) = emulator.try_wait().expect("the emulator's end") {
                break status.code();
            }
            if start.elapsed() > limit {
                emulator.kill().expect("the end of the emulator");
                emulator.wait().expect("the end of the emulator");
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Run {
            console: fs::read_to_string(&console).unwrap_or_default(),
            code,
        }
    }
}

/// Tokens of a prefill batch on the board; the host has another, and the bits are the same.
const BATCH: u32 = 4;

impl Run {
    /// What follows `whittle: NAME ` on every line that starts so.
    fn all(&self, name: &str) -> Vec<&str> {
        let start = format!("whittle: {name} ");
        self.console
            .lines()
            .filter_map(|line| line.strip_prefix(&start))
            .collect()
    }

    fn tokens(&self) -> Vec<u32> {
        let number = |line: &str| line.split(' ').next().and_then(|n| n.parse().ok());
        self.all("token")
            .into_iter()
            .map(|line| number(line).expect("the number of a token"))
            .collect()
    }

    /// The answer as tables of golden answers have it.
    fn golden(&self, name: &str, cache: CachePrecision) -> golden::Golden {
        let hash = self
            .all("logits")
            .first()
            .map(|hash| u64::from_str_radix(hash, 16));
        golden::Golden {
            name: name.to_owned(),
            cache,
            hash: LogitsHash(
                hash.expect("a line `logits`")
                    .expect("a hash in hexadecimal"),
            ),
            tokens: self.tokens(),
        }
    }

    /// Instructions for each token of the line `prompt` or `decode`.
    fn instructions(&self, phase: &str) -> f64 {
        let line = self.all(phase)[0];
        let numbers: Vec<f64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        numbers[1] / numbers[0]
    }

    /// Tokens of the line `prompt` or `decode`.
    fn count(&self, phase: &str) -> usize {
        let line = self.all(phase)[0];
        let count = line.split(' ').next().and_then(|n| n.parse().ok());
        count.expect("a number of tokens")
    }

    /// Tokens of the intent line, line break included, and instructions from the prompt to the first
    /// token that is spoken.
    fn to_speech(&self) -> (usize, f64) {
        let lines = self.all("token");
        let line_break = lines.iter().position(|line| line.contains("\"\\n\""));
        let spoken = line_break.expect("an intent line") + 1;
        let count = lines[spoken].rsplit(' ').nth(1);
        let count = count.and_then(|n| n.parse().ok());
        (spoken, count.expect("a number of instructions"))
    }

    /// Fails unless the board computed just what this host's answer says.
    fn assert_equals(&self, answer: &Answer) {
        assert_eq!(self.code, Some(0), "{}", self.console);
        assert_eq!(self.tokens(), answer.tokens, "{}", self.console);
        let hash = format!("{:016x}", answer.logits_hash.0);
        assert_eq!(self.all("logits"), [hash], "{}", self.console);
    }
}

/// The host's answer, computed with these instructions.
fn host_answer(level: &str, packed: &PackedModel, request: &Request<'_>) -> Answer {
    let processor = Processor::with_level(Some(level), None).expect("a level of this processor");
    let context = request.context as usize;
    let mut conversation = match request.cache {
        Some(cache) => Conversation::with_cache(packed, context, cache),
        None => Conversation::new(packed, context),
    };
    let question = Question {
        system: None,
        user: request.prompt,
        max_tokens: request.max_tokens as usize,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    conversation
        .ask(packed, &processor.host(), &question, &mut |_| {
            std::ops::ControlFlow::Continue(())
        })
        .expect("an answer")
}

fn assert_same_on_board(board: &Board, packed: &PackedModel, request: &Request<'_>) -> Run {
    let run = board.run(packed.bytes(), request, Duration::from_secs(300));
    for level in SimdLevel::available() {
        run.assert_equals(&host_answer(level.name(), packed, request));
    }
    run
}

fn load(tiny: &TinyModel) -> Model {
    Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).expect("a model")
}

fn pack(model: &Model, recipe: &Recipe) -> PackedModel {
    let compressed = compress(model, recipe, &Job::silent()).expect("not cancelled");
    PackedModel::pack(model, &compressed, &Job::silent()).expect("a packed model")
}

/// Every precision without and with pruning, one after the other over the matrices of the model.
fn every_setting(model: &Model) -> Recipe {
    let settings = [0.0, 0.9]
        .map(|sparsity| Precision::ALL.map(|precision| Setting::sparse(precision, sparsity)));
    let mut recipe = Recipe::original();
    let matrices = model.tensors.iter().filter(|t| t.role.is_matrix());
    for (tensor, setting) in matrices.zip(settings.as_flattened().iter().cycle()) {
        recipe.except(tensor.role, tensor.layer, *setting);
    }
    recipe
}

const QUESTION: Request<'_> = Request {
    prompt: "Hello, board: is 2 + 2 = 4?",
    max_tokens: 6,
    context: 128,
    memory_words: 0,
    cache: None,
};

#[test]
fn the_board_answers_as_the_desktop_does_in_every_encoding() {
    let boards: Result<Vec<Board>, String> = [Core::Integer, Core::Float]
        .into_iter()
        .map(Board::new)
        .collect();
    let Some(boards) = required(boards) else {
        return;
    };
    let mut encodings = BTreeSet::new();
    for (architecture, head, layers) in [
        ("llama", Head::Tied, 3),
        ("qwen2", Head::Own, 2),
        ("qwen3", Head::Own, 2),
    ] {
        let model = load(&TinyModel {
            architecture,
            head,
            layers,
            ..TinyModel::default()
        });
        let packed = pack(&model, &every_setting(&model));
        encodings.extend(packed.view().entries().map(|e| e.matrix.encoding()));
        for board in &boards {
            assert_same_on_board(board, &packed, &QUESTION);
        }
    }
    for stored in [Stored::Q8_0, Stored::Q4_1, Stored::Q4K, Stored::Q6K] {
        let model = load(&TinyModel {
            stored,
            layers: 1,
            hidden: 256,
            feed_forward: 256,
            head_dim: 64,
            ..TinyModel::default()
        });
        let mut recipe = Recipe::original();
        recipe.set("*=bits:source").expect("a setting");
        recipe
            .set("attention.o=bits:1,sparsity:75%")
            .expect("a setting");
        let packed = pack(&model, &recipe);
        encodings.extend(packed.view().entries().map(|e| e.matrix.encoding()));
        for board in &boards {
            assert_same_on_board(board, &packed, &QUESTION);
        }
    }
    let every: BTreeSet<Encoding> = Encoding::ALL.into_iter().collect();
    assert_eq!(encodings, every);
}

/// What it prints stands in its image too, where a host finds it without running it.
#[test]
fn the_board_says_which_engine_it_runs() {
    let Some(board) = required(Board::new(Core::Integer)) else {
        return;
    };
    let image = fs::read(&board.firmware).expect("the firmware");
    let stamp = Stamp::find(&image).expect("a stamp in the image");
    assert_eq!(stamp, Stamp::of_this_engine(stamp.app));
    let packed = pack(&load(&TinyModel::default()), &Recipe::original());
    let run = board.run(packed.bytes(), &QUESTION, Duration::from_secs(60));
    assert_eq!(run.all("firmware:"), [stamp.to_string()], "{}", run.console);
}

/// The files that the fast tests hold every desktop level to, and the same table.
#[test]
fn the_board_gives_the_golden_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for core in [Core::Integer, Core::Float] {
        let Some(board) = required(Board::new(core)) else {
            return;
        };
        for (files, table) in [
            ("packed", "packed/answers.snap"),
            ("version-1", "version-1/answers.txt"),
        ] {
            let mut found = Vec::new();
            for (name, file) in golden::files(&folder.join(files)) {
                for cache in CachePrecision::ALL {
                    let request = Request {
                        prompt: golden::PROMPT,
                        max_tokens: u32::try_from(golden::MAX_TOKENS).expect("a short answer"),
                        context: u32::try_from(golden::CONTEXT).expect("a short context"),
                        cache: Some(cache),
                        ..QUESTION
                    };
                    let run = board.run(&file, &request, Duration::from_secs(60));
                    assert_eq!(run.code, Some(0), "{name}: {}", run.console);
                    found.push(run.golden(&name, cache).to_string());
                }
            }
            let expected = golden::read(&folder.join(table));
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{core:?}, {files}");
        }
    }
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let Some(board) = required(Board::new(Core::Integer)) else {
        return;
    };
    let packed = pack(&load(&TinyModel::default()), &Recipe::original());
    let prompt = host_answer("scalar", &packed, &QUESTION).prompt_tokens;
    let run = assert_same_on_board(
        &board,
        &packed,
        &Request {
            context: u32::try_from(prompt + 2).expect("a short prompt"),
            ..QUESTION
        },
    );
    assert!(
        run.console.contains("whittle: done: context full"),
        "{run:?}"
    );
}

#[test]
fn the_board_refuses_in_one_sentence() {
    let Some(board) = required(Board::new(Core::Integer)) else {
        return;
    };
    let packed = pack(&load(&TinyModel::default()), &Recipe::original());
    let check = |bytes: &[u8], request: &Request<'_>, sentence: &str| {
        let run = board.run(bytes, request, Duration::from_secs(60));
        assert_eq!(run.code, Some(1), "{run:?}");
        let expected = format!("whittle: refused: {sentence}");
        let last = run.console.lines().last().unwrap_or_default();
        assert!(last.starts_with(&expected), "{expected}: {run:?}");
    };

    let entry = packed.view().entry(3);
    let mut damaged = packed.bytes().to_vec();
    damaged[entry.offset + 17] ^= 4;
    check(
        &damaged,
        &QUESTION,
        &format!("tensor 3 is damaged: expected CRC {:08x}", entry.crc),
    );
    let mut damaged = packed.bytes().to_vec();
    damaged[200] ^= 1;
    check(&damaged, &QUESTION, "metadata is damaged");
    check(b"GGUF", &QUESTION, "expected a packed model");
    check(
        &packed.bytes()[..packed.bytes().len() - 50],
        &QUESTION,
        &format!("tensor {} is damaged", packed.view().tensors() - 1),
    );

    let small = Request {
        memory_words: 1000,
        ..QUESTION
    };
    check(packed.bytes(), &small, "the conversation needs ");
    let narrow = Request {
        context: 8,
        ..QUESTION
    };
    check(packed.bytes(), &narrow, "the conversation needs ");

    // A model that computes no number draws no token of it: the line says why.
    let model = load(&TinyModel::default());
    let mut compressed = compress(&model, &Recipe::original(), &Job::silent()).expect("weights");
    let mut tensors = compressed.tensors.iter_mut();
    let norm = tensors.find(|t| t.role == Role::OutputNorm);
    let norm = norm.expect("every model has it");
    let mut bytes = norm.bytes.clone();
    bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    *norm = Arc::new(CompressedTensor {
        bytes,
        ..CompressedTensor::clone(norm)
    });
    let damaged = PackedModel::pack(&model, &compressed, &Job::silent()).expect("a file");
    check(
        damaged.bytes(),
        &QUESTION,
        "the answer ends: expected a finite logit of every token, found NaN for token 0",
    );
}

/// What estimates for cores without vectors are made of: instructions for one weight and one token.
#[test]
fn a_weight_takes_no_more_instructions_than_written_down() {
    // Little attention and short: the time goes into the matrices.
    let model = load(&TinyModel {
        layers: 1,
        hidden: 512,
        feed_forward: 2048,
        heads: 2,
        kv_heads: 1,
        head_dim: 32,
        head: Head::Own,
        ..TinyModel::default()
    });
    let weights: usize = model
        .tensors
        .iter()
        .filter(|t| t.role.is_matrix() && t.role != Role::Embedding)
        .map(|t| t.rows * t.cols)
        .sum();
    let question = Request {
        prompt: "Hi",
        max_tokens: 3,
        ..QUESTION
    };
    for core in [Core::Integer, Core::Float] {
        let Some(board) = required(Board::new(core)) else {
            return;
        };
        for (precision, sparsity, integer_limit, float_limit) in INSTRUCTIONS {
            let mut recipe = Recipe::original();
            for tensor in model.tensors.iter().filter(|t| t.role.is_matrix()) {
                let setting = Setting::sparse(precision, sparsity);
                recipe.except(tensor.role, tensor.layer, setting);
            }
            let packed = pack(&model, &recipe);
            let run = assert_same_on_board(&board, &packed, &question);
            let [prompt, answer] =
                ["prompt", "decode"].map(|phase| run.instructions(phase) / weights as f64);
            println!(
                "{core:?}, {} bits, {:.0} % pruned: {answer:.1} instructions a weight and token, {prompt:.1} in a prompt",
                precision.name(),
                sparsity * 100.0,
            );
            let limit = match core {
                Core::Integer => integer_limit,
                Core::Float => float_limit,
            };
            assert!(
                answer < limit,
                "{core:?} {precision:?} {sparsity}: {answer}"
            );
        }
    }
}

/// Precision, sparsity, and a tenth more than the instructions for a weight of an answer that
/// `firmware/README.md` states, without and with floating point.
const INSTRUCTIONS: [(Precision, f64, f64, f64); 7] = [
    (Precision::Eight, 0.0, 14.1, 9.1),
    (Precision::Four, 0.0, 9.6, 4.6),
    (Precision::Four, 0.5, 17.4, 12.5),
    (Precision::Two, 0.0, 9.5, 4.4),
    (Precision::Ternary, 0.0, 12.5, 7.7),
    (Precision::One, 0.0, 8.9, 4.0),
    (Precision::One, 0.5, 16.3, 11.3),
];

/// Packed with the keys and values of the text with which its conversations begin.
fn pack_with(
    model: &Model,
    recipe: &Recipe,
    text: PrefixText<'_>,
    cache: CachePrecision,
) -> PackedModel {
    let compressed = compress(model, recipe, &Job::silent()).expect("not cancelled");
    let choice = PrefixChoice { text, cache };
    let (host, job) = (Host::serial(), Job::silent());
    PackedModel::pack_with_prefix(model, &compressed, choice, &host, &job).expect("a packed model")
}

#[test]
fn a_prefix_in_flash_changes_no_bit_of_an_answer() {
    let Some(board) = required(Board::new(Core::Integer)) else {
        return;
    };
    let model = load(&TinyModel::default());
    let text = PrefixText::System("You speak for a board of 400 kB and are brief.");
    for cache in CachePrecision::ALL {
        let question = Request {
            cache: Some(cache),
            ..QUESTION
        };
        let packed = pack_with(&model, &Recipe::original(), text, cache);
        let positions = packed.prefix().expect("a prefix").positions();
        let with = assert_same_on_board(&board, &packed, &question);
        // Keys and values of other bits are no use: the same conversation, computed as a whole.
        let other = CachePrecision::ALL.into_iter().find(|c| *c != cache);
        let other = other.expect("another precision");
        let plain = pack_with(&model, &Recipe::original(), text, other);
        let without = assert_same_on_board(&board, &plain, &question);
        assert_eq!(with.all("logits"), without.all("logits"));
        assert_eq!(with.tokens(), without.tokens());
        assert_eq!(with.count("prompt") + positions, without.count("prompt"));
    }
}

#[test]
fn by_default_board_and_desktop_keep_keys_and_values_as_the_file_was_made_for() {
    let Some(board) = required(Board::new(Core::Integer)) else {
        return;
    };
    let model = load(&TinyModel::default());
    let texts = [PrefixText::None, PrefixText::System("You are brief.")];
    for (text, cache) in texts
        .into_iter()
        .flat_map(|t| CachePrecision::ALL.map(|c| (t, c)))
    {
        let packed = pack_with(&model, &Recipe::original(), text, cache);
        let by_default = assert_same_on_board(&board, &packed, &QUESTION);
        let asked = Request {
            cache: Some(cache),
            ..QUESTION
        };
        let asked = assert_same_on_board(&board, &packed, &asked);
        assert_eq!(asked.all("logits"), by_default.all("logits"), "{cache:?}");
    }
}

/// Clock of an ESP32-C3.
const CLOCK_HZ: f64 = 160e6;
/// Longest time from the prompt to the first word that is spoken.
const REPLY_SECONDS: f64 = 3.0;

/// The assistant's intent line ends with a line break; what follows it is spoken.
#[test]
fn hearth_begins_to_speak_within_three_seconds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
    let model = Model::load(&folder, &Job::silent()).expect("a whole model");
    let recipe = Recipe::open("balanced-4bit").expect("a preset");
    let boards: Result<Vec<(Core, Board)>, String> = [Core::Integer, Core::Float]
        .into_iter()
        .map(|core| Ok((core, Board::new(core)?)))
        .collect();
    let Some(boards) = required(boards) else {
        return;
    };
    // A context of 256 tokens fits the memory of an ESP32-C3 at 8 bits.
    for cache in [CachePrecision::Sixteen, CachePrecision::Eight] {
        let packed = pack_with(&model, &recipe, PrefixText::OfTemplate, cache);
        let prefix = packed.prefix().expect("hearth's own system text");
        println!(
            "keys and values of {} bits: {} bytes packed, {} tokens of the prefix among them",
            cache.bits(),
            packed.bytes().len(),
            prefix.positions()
        );
        let request = Request {
            prompt: "turn on the kitchen light",
            max_tokens: 24,
            context: 256,
            ..QUESTION
        };
        let [integer, float] = [&boards[0], &boards[1]].map(|(core, board)| {
            let run = assert_same_on_board(board, &packed, &request);
            let (tokens, instructions) = run.to_speech();
            println!(
                "{core:?}: {} tokens of the prompt, {tokens} of the intent, {:.1} million instructions",
                run.count("prompt"),
                instructions / 1e6,
            );
            instructions
        });
        // What a core with floating point does not take.
        let share = 100.0 * (1.0 - float / integer);
        let seconds = integer / CLOCK_HZ;
        println!("{seconds:.2} s at 160 MHz, {share:.0} % of it floating point in software");
        assert!(seconds <= REPLY_SECONDS, "{seconds} s");
    }
}

#[test]
fn hearth_understands_a_command_however_it_is_typed() {
    let Some(board) = required(Board::new(Core::Float)) else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
    let model = Model::load(&folder, &Job::silent()).expect("a whole model");
    let recipe = Recipe::open("balanced-4bit").expect("a preset");
    let packed = pack_with(
        &model,
        &recipe,
        PrefixText::OfTemplate,
        CachePrecision::Eight,
    );
    let runs = ["turn on the kitchen light", " Turn ON the kitchen light!"].map(|prompt| {
        let request = Request {
            prompt,
            max_tokens: 12,
            ..QUESTION
        };
        assert_same_on_board(&board, &packed, &request)
    });
    let [plain, typed] = runs.each_ref().map(|run| (run.tokens(), run.all("logits")));
    assert_eq!(plain, typed);
}

#[test]
fn smollm2_answers_on_the_board_as_on_the_desktop() {
    // Floating point halves the wait: 50 thousand million instructions without it.
    let Some(board) = required(Board::new(Core::Float)) else {
        return;
    };
    let Some(folder) = required(installed("smollm2-135m")) else {
        return;
    };
    let file = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let model = Model::load(&file, &Job::silent()).expect("a whole model");
    let recipe = Recipe::open("balanced-4bit").expect("a preset");
    let packed = pack(&model, &recipe);
    let run = assert_same_on_board(
        &board,
        &packed,
        &Request {
            prompt: "Hi",
            max_tokens: 3,
            context: 64,
            ..QUESTION
        },
    );
    println!("{}", run.console);
}
