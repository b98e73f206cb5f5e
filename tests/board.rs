//! What every board runs, on this machine: the app of `firmware/boards/` answers as the desktop does, each
//! by its own defaults. The emulated boards say the same of the compiled firmware, in the slow tests.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/formats.rs"]
mod formats;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use app::{CachePrecision, Limits, Lines, Model as OnBoard, Request, answer};
use engine::format::{Need, NewSection};
use engine::sampler::Sampling;
use engine::workers::Host;
use formats::{version_1, with_section};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tiny_model::TinyModel;
use whittle::compress::{CompressedTensor, compress};
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{Conversation, PackedModel, PrefixChoice, PrefixText, Question};
use whittle::recipe::Recipe;

const CONTEXT: usize = 128;
const MAX_TOKENS: usize = 6;
/// Tensors of eight layers.
const TABLE: usize = 8 * 18;

/// A board whose console is kept, line by line.
#[derive(Default)]
struct Console(Vec<String>, Vec<u8>);

impl app::Board for Console {
    const NAME: &'static str = "test";
    const TICK: &'static str = "ticks";
    const TICKS_PER_SECOND: u32 = 0;

    fn ticks(&mut self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.1.extend(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let text = line.trim_end().strip_prefix("whittle: ").unwrap();
            self.0.push(text.to_owned());
        }
    }

    fn read(&mut self) -> Option<u8> {
        None
    }
}

/// Tokens and hash of the logits, as the board prints them.
fn on_board(bytes: &[u8], prompt: &str, cache: Option<CachePrecision>) -> (Vec<u32>, String) {
    let mut console = Console::default();
    let mut table = vec![None; TABLE];
    let model = OnBoard::open(&mut console, bytes, &mut table).unwrap();
    let limits = Limits {
        context: CONTEXT,
        batch: 4,
        cache: cache.unwrap_or(model.cache()),
    };
    let request = Request {
        prompt,
        max_tokens: MAX_TOKENS,
        limits,
        sampling: Sampling::GREEDY,
    };
    let mut memory = vec![0; model.words(prompt.len(), limits, &Sampling::GREEDY)];
    answer(&mut console, &model, &request, &mut memory, &mut Lines).unwrap();
    let lines = |name: &'static str| {
        let of_name = move |line: &String| line.strip_prefix(name).map(str::to_owned);
        console.0.iter().filter_map(of_name).collect::<Vec<_>>()
    };
    let number = |line: &String| line.split(' ').next().unwrap().parse().unwrap();
    let tokens = lines("token ").iter().map(number).collect();
    (tokens, lines("logits ").concat())
}

fn on_desktop(
    mut conversation: Conversation,
    packed: &PackedModel,
    prompt: &str,
) -> (Vec<u32>, String) {
    let question = Question {
        system: None,
        user: prompt,
        max_tokens: MAX_TOKENS,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut show = |_: &str| ControlFlow::Continue(());
    let answer = conversation.ask(packed, &Host::serial(), &question, &mut show);
    let answer = answer.unwrap();
    (answer.tokens, format!("{:016x}", answer.logits_hash.0))
}

fn packed(model: &Model, text: PrefixText<'_>, cache: CachePrecision) -> PackedModel {
    let compressed = compress(model, &Recipe::original(), &Job::silent()).unwrap();
    let choice = PrefixChoice { text, cache };
    let (host, job) = (Host::serial(), Job::silent());
    PackedModel::pack_with_prefix(model, &compressed, choice, &host, &job).unwrap()
}

#[test]
fn by_default_board_and_desktop_keep_keys_and_values_as_the_file_was_made_for() {
    let model = Model::from_gguf("tiny.gguf", TinyModel::default().gguf(), &Job::silent()).unwrap();
    let prompt = "Hello, board: is 2 + 2 = 4?";
    let mut hashes = Vec::new();
    for text in [PrefixText::None, PrefixText::System("You are brief.")] {
        for cache in CachePrecision::ALL {
            let packed = packed(&model, text, cache);
            let by_default = on_desktop(Conversation::new(&packed, CONTEXT), &packed, prompt);
            assert_eq!(
                on_board(packed.bytes(), prompt, None),
                by_default,
                "{text:?} {cache:?}"
            );
            hashes.push(by_default.1);
            // Whoever asks for others gets them, on both.
            for asked in CachePrecision::ALL {
                let conversation = Conversation::with_cache(&packed, CONTEXT, asked);
                let found = on_desktop(conversation, &packed, prompt);
                assert_eq!(on_board(packed.bytes(), prompt, Some(asked)), found);
                let is_default = found.1 == hashes[hashes.len() - 1];
                assert_eq!(is_default, asked == cache, "{text:?} {cache:?} {asked:?}");
            }
        }
    }
}

#[test]
fn a_board_reads_both_versions_and_refuses_a_section_that_it_must_know() {
    let model = Model::from_gguf("tiny.gguf", TinyModel::default().gguf(), &Job::silent()).unwrap();
    let prompt = "turn on the light";
    let packed = packed(
        &model,
        PrefixText::System("You are brief."),
        CachePrecision::Four,
    );
    let expected = on_desktop(Conversation::new(&packed, CONTEXT), &packed, prompt);
    assert_eq!(on_board(&version_1(packed.bytes()), prompt, None), expected);
    let later = |need| {
        let (name, bytes) = ("dialogue", b"rules".as_slice());
        with_section(packed.bytes(), NewSection { name, need, bytes })
    };
    assert_eq!(on_board(&later(Need::Optional), prompt, None), expected);
    let (file, mut table) = (later(Need::Required), vec![None; TABLE]);
    let refused = OnBoard::open(&mut Console::default(), &file, &mut table).unwrap_err();
    let sentence = refused.to_string();
    assert!(
        sentence.contains("found dialogue, without which the model must not run"),
        "{sentence}"
    );
}

#[test]
fn a_command_is_understood_on_the_board_however_it_is_typed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
    let model = Model::load(&folder, &Job::silent()).unwrap();
    let packed = packed(&model, PrefixText::OfTemplate, CachePrecision::Eight);
    let answers = ["turn on the kitchen light", " Turn ON the kitchen light!"].map(|prompt| {
        let found = on_board(packed.bytes(), prompt, None);
        let conversation = Conversation::new(&packed, CONTEXT);
        assert_eq!(found, on_desktop(conversation, &packed, prompt), "{prompt}");
        found
    });
    assert_eq!(answers[0], answers[1]);
}

/// The tiny model with a weight of one tensor that is no number, which no packer makes.
fn packed_nan(model: &Model, recipe: &str, tensor: &str, cache: CachePrecision) -> PackedModel {
    let job = Job::silent();
    let mut compressed = compress(model, &Recipe::open(recipe).unwrap(), &job).unwrap();
    let mut tensors = compressed.tensors.iter_mut();
    let found = tensors.find(|t| t.name == tensor).unwrap();
    let mut bytes = found.bytes.clone();
    bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    *found = Arc::new(CompressedTensor {
        bytes,
        ..CompressedTensor::clone(found)
    });
    let text = PrefixText::None;
    let choice = PrefixChoice { text, cache };
    PackedModel::pack_with_prefix(model, &compressed, choice, &Host::serial(), &job).unwrap()
}

#[test]
fn a_model_that_computes_no_number_draws_no_token_on_board_and_desktop() {
    let model = Model::from_gguf("tiny.gguf", TinyModel::default().gguf(), &Job::silent()).unwrap();
    let prompt = "turn on the light";
    let logit = "expected a finite logit of every token, found NaN for token 0";
    // Activations in floats and in 8 bits; behind the head, before it, and before keys and values.
    for recipe in ["original", "balanced-4bit"] {
        for tensor in [
            "output_norm.weight",
            "blk.1.ffn_norm.weight",
            "blk.0.attn_norm.weight",
        ] {
            for cache in CachePrecision::ALL {
                let packed = packed_nan(&model, recipe, tensor, cache);
                let mut conversation = Conversation::new(&packed, CONTEXT);
                let question = Question {
                    system: None,
                    user: prompt,
                    max_tokens: MAX_TOKENS,
                    sampling: Sampling::GREEDY,
                    stop: &[],
                };
                let mut shown = String::new();
                let asked = conversation.ask(&packed, &Host::serial(), &question, &mut |text| {
                    shown += text;
                    ControlFlow::Continue(())
                });
                let name = format!("{recipe}, {tensor}, {cache:?}");
                let said = asked.expect_err(&name).to_string();
                assert_eq!(
                    said,
                    format!("the answer ends after 0 tokens: {logit}"),
                    "{name}"
                );
                assert_eq!(shown, "", "{name}");

                let mut console = Console::default();
                let mut table = vec![None; TABLE];
                let on_board = OnBoard::open(&mut console, packed.bytes(), &mut table).unwrap();
                let limits = Limits {
                    context: CONTEXT,
                    batch: 4,
                    cache,
                };
                let request = Request {
                    prompt,
                    max_tokens: MAX_TOKENS,
                    limits,
                    sampling: Sampling::GREEDY,
                };
                let mut memory = vec![0; on_board.words(prompt.len(), limits, &Sampling::GREEDY)];
                let refused = answer(&mut console, &on_board, &request, &mut memory, &mut Lines);
                let said = refused.expect_err(&name).to_string();
                assert_eq!(said, format!("the answer ends: {logit}"), "{name}");
                assert!(
                    !console.0.iter().any(|line| line.starts_with("token ")),
                    "{name}"
                );
            }
        }
    }
}
