//! hearth and its low-bit variant on the emulated ESP32-C3, as their files say: every precision of keys and values, with the
//! prefix in flash and without.

use engine::arena::CachePrecision;
use engine::sampler::Sampling;
use engine::workers::Host;
use std::ops::ControlFlow;
use std::path::Path;
use whittle::board::Board;
use whittle::compress::compress;
use whittle::job::Job;
use whittle::link::{BoardQuestion, Client, FakeBoard, Image, Reset, ask_board, prebuilt};
use whittle::model::Model;
use whittle::packed::{PackedModel, PrefixChoice, PrefixText};
use whittle::recipe::Recipe;

/// A board that runs this model.
fn running(packed: &PackedModel) -> FakeBoard {
    let board = Board::find("esp32-c3").expect("a built-in board");
    let firmware = prebuilt(board).expect("firmware that comes along");
    let image = Image::new(board, firmware, packed.bytes()).expect("a model that fits");
    let mut flash = vec![0xFF; usize::try_from(image.flash_bytes).expect("megabytes")];
    for segment in &image.segments {
        flash[segment.address as usize..][..segment.bytes.len()].copy_from_slice(&segment.bytes);
    }
    FakeBoard::holding(flash).expect("a pseudo-terminal")
}

fn answers_as_here(folder: &str, recipe: &Path) {
    let job = Job::silent();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let model = Model::load(&assets.join(folder), &job).expect("a whole model");
    let recipe = Recipe::open(recipe).expect("a recipe");
    let compressed = compress(&model, &recipe, &job).expect("not cancelled");
    let question = BoardQuestion {
        prompt: "Turn ON the kitchen light, please!",
        max_tokens: 0,
        context: 0,
        sampling: Sampling::GREEDY,
    };
    for cache in [
        CachePrecision::Sixteen,
        CachePrecision::Eight,
        CachePrecision::Four,
    ] {
        for text in [PrefixText::OfTemplate, PrefixText::None] {
            let choice = PrefixChoice { text, cache };
            let host = Host::serial();
            let packed = PackedModel::pack_with_prefix(&model, &compressed, choice, &host, &job);
            let packed = packed.expect("a packed model");
            let board = running(&packed);
            let mut client = Client::open(board.port(), Reset::None).expect("a line");
            let mut show = |_: &str| ControlFlow::Continue(());
            let turn = ask_board(&mut client, &question, &job, &mut show);
            let turn = turn.expect("an answer");
            let turn = turn.beside((&packed, &[]), &question, &job);
            let turn = turn.expect("not cancelled");
            let bits = cache.bits();
            assert_eq!(turn.same_here, Some(true), "{bits} {text:?}: {turn:?}");
            assert_eq!(turn.answer.stop, "stop_token", "{bits} {text:?}: {turn:?}");
        }
    }
}

#[test]
fn hearth_answers_as_here_at_every_precision_with_a_prefix_and_without() {
    answers_as_here("hearth", Path::new("balanced-4bit"));
}

#[test]
fn its_low_bit_variant_answers_as_here_at_every_precision_with_a_prefix_and_without() {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth-low-bit/recipe.toml");
    answers_as_here("hearth-low-bit", &recipe);
}
