//! What a file says of keys and values, and of the text that conversations begin with, holds on the board as on the desktop.

use super::{Console, desktop, flash, golden, image};
use engine::arena::CachePrecision;
use engine::workers::Host;
use std::path::Path;
use whittle::compress::compress;
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{PackedModel, PrefixChoice, PrefixText, WeightSource as _};
use whittle::recipe::Recipe;

#[test]
fn a_qwen3_model_answers_as_on_the_desktop_at_every_precision_with_a_prefix_and_without() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models");
    let job = Job::silent();
    let model = Model::load(&folder.join("qwen3.snap.gguf"), &job).unwrap();
    let compressed = compress(&model, &Recipe::open("balanced-4bit").unwrap(), &job).unwrap();
    let mut hashes = Vec::new();
    for cache in [
        CachePrecision::Sixteen,
        CachePrecision::Eight,
        CachePrecision::Four,
    ] {
        for text in [PrefixText::OfTemplate, PrefixText::None] {
            let choice = PrefixChoice { text, cache };
            let packed =
                PackedModel::pack_with_prefix(&model, &compressed, choice, &Host::serial(), &job);
            let packed = packed.unwrap();
            assert_eq!(packed.prefix().is_some(), text == PrefixText::OfTemplate);
            let mut console = Console::boot(flash(&image(packed.bytes())));
            console.ask(golden::PROMPT);
            let answer = desktop(&packed, golden::PROMPT);
            console.assert_equals(&answer);
            hashes.push(answer.logits_hash.0);
        }
    }
    // Of the same precision both have the same bits; another precision has others.
    let [a, b, c, d, e, f] = hashes[..] else {
        panic!("{hashes:?}")
    };
    assert_eq!((a, c, e), (b, d, f));
    assert!(a != c && c != e && a != e, "{hashes:?}");
}
