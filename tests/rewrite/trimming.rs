//! The same model with fewer tokens.

use super::tiny_folder::write_folder;
use super::tiny_model::{GgufWriter, Head, Stored, TinyModel, vocabulary};
use super::{load, logits, tiny};
use engine::shape::Role;
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;
use whittle::job::Job;
use whittle::model::{Model, Specials};
use whittle::rewrite::{Cost, RewriteError, Sample, Trimmed, trim};

const TEXT: &str = "the light in the other room is on and he said hello to all of you";

fn sample(text: &str) -> Sample<'_> {
    Sample::Text {
        name: "t.txt",
        text,
    }
}

/// The model that trimming to a text writes, and its report.
fn trimmed(model: &Model, text: &str, most: Option<usize>) -> (Model, Trimmed) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    let report = trim(model, &[sample(text)], most, &path, &Job::silent()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), report.bytes_after);
    (load(&path), report)
}

/// What a text is cut into, token by token.
fn cut(model: &Model, text: &str) -> Vec<String> {
    let t = &model.tokenizer;
    let tokens = t.encode(text, Specials::Parse).unwrap();
    tokens.iter().map(|token| t.token_text(*token)).collect()
}

/// The tokens of `after` as `before` numbers them, by their texts.
fn numbers_before(before: &Model, after: &Model) -> Vec<u32> {
    let texts = |model: &Model| -> Vec<String> {
        let all = 0..u32::try_from(model.tokenizer.vocab_size()).unwrap();
        all.map(|token| model.tokenizer.token_text(token)).collect()
    };
    let old = texts(before);
    let place = |text: &String| old.iter().position(|t| t == text).unwrap();
    texts(after)
        .iter()
        .map(|text| u32::try_from(place(text)).unwrap())
        .collect()
}

/// A tiny model of the SentencePiece kind: scores instead of merges, characters, bytes.
fn sentencepiece() -> Model {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=255_u8).map(|byte| format!("<0x{byte:02X}>")));
    let pieces = [
        "▁t", "he", "▁the", "ll", "hell", "hello", "▁a", "an", "▁an", "▁and", "is", "▁is", "▁",
        "t", "h", "e", "l", "o", "a", "n", "d", "i", "s", "é", "ß", "x", "y", "z",
    ];
    tokens.extend(pieces.map(str::to_owned));
    let mut kinds = vec![2, 3, 3];
    kinds.resize(259, 6);
    kinds.resize(tokens.len(), 1);
    let scores: Vec<f32> = (0..tokens.len()).map(|i| -(i as f32)).collect();
    let mut file = TinyModel::default().writer();
    file.string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &kinds)
        .f32s("tokenizer.ggml.scores", &scores)
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.padding_token_id", 2);
    from(&file)
}

fn from(file: &GgufWriter) -> Model {
    Model::from_gguf("tiny.gguf", file.bytes(), &Job::silent()).unwrap()
}

#[test]
fn a_text_is_cut_as_before_and_its_tokens_keep_their_rows() {
    for stored in [Stored::F32, Stored::Q8_0] {
        let model = tiny("qwen2", Head::Own, stored);
        let (after, report) = trimmed(&model, TEXT, Some(288));
        assert_eq!((report.tokens_before, report.tokens_after), (300, 288));
        assert!(report.bytes_after < report.bytes_before);
        assert_eq!(cut(&after, TEXT), cut(&model, TEXT));
        let kept = numbers_before(&model, &after);
        for (before, after_tensor) in model.tensors.iter().zip(&after.tensors) {
            assert_eq!(before.name, after_tensor.name);
            assert_eq!(before.source, after_tensor.source);
            let (old, new) = (model.source_bytes(before), after.source_bytes(after_tensor));
            if [Role::Embedding, Role::Output].contains(&before.role) {
                let length = old.len() / before.rows;
                let rows = kept
                    .iter()
                    .flat_map(|row| &old[*row as usize * length..][..length]);
                assert!(rows.eq(new), "{}", before.name);
            } else {
                assert!(old == new, "{}", before.name);
            }
        }
        let (t, old) = (&after.tokenizer, &model.tokenizer);
        let text = |id: Option<u32>| id.map(|id| t.token_text(id));
        let old_text = |id: Option<u32>| id.map(|id| old.token_text(id));
        assert_eq!(text(t.bos), old_text(old.bos));
        assert_eq!(text(t.declared_eos()), old_text(old.declared_eos()));
        assert_eq!(after.chat.pieces().unwrap(), model.chat.pieces().unwrap());
    }
}

#[test]
fn what_stays_is_expected_at_least_as_well() {
    let model = tiny("llama", Head::Tied, Stored::F32);
    let (after, _) = trimmed(&model, TEXT, None);
    let tokens = |model: &Model| model.tokenizer.encode(TEXT, Specials::Plain).unwrap();
    let (old, new) = (
        logits(&model, &tokens(&model)),
        logits(&after, &tokens(&after)),
    );
    for (place, number) in numbers_before(&model, &after).into_iter().enumerate() {
        let (a, b) = (old.column(number as usize), new.column(place));
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
    }
    let cost = |text| Cost::measure(&model, &after, ("t.txt", text), 200, &Job::silent());
    let on_text = cost(TEXT).unwrap();
    assert_eq!(on_text.text_tokens_before, on_text.text_tokens_after);
    assert_eq!(on_text.measured_bytes, TEXT.len());
    // Fewer tokens share the same probability.
    assert!(on_text.bits_per_byte_after < on_text.bits_per_byte_before);
    let long = TEXT.repeat(30);
    let start = cost(&long).unwrap();
    assert!(start.measured_bytes < long.len());
    assert!(start.text_tokens_before > 1000);
    assert!(matches!(cost("a"), Err(RewriteError::EmptyText { .. })));
}

#[test]
fn sentencepiece_keeps_bytes_and_the_characters_of_the_texts() {
    let model = sentencepiece();
    let text = "hello and the hello";
    let (after, report) = trimmed(&model, text, None);
    assert!(report.tokens_after < report.tokens_before);
    assert_eq!(cut(&after, text), cut(&model, text));
    // ß was not in the text: its bytes spell it.
    assert!(cut(&model, "ß").contains(&"ß".to_owned()));
    assert!(cut(&after, "ß").contains(&"<0xC3>".to_owned()));
    let header = after.gguf_header().unwrap().unwrap().entries;
    assert!(
        header
            .iter()
            .all(|(key, _)| *key != "tokenizer.ggml.merges")
    );
}

#[test]
fn words_are_cut_out_of_a_text_as_before() {
    // Llama 3 looks whole words up before it merges.
    for pretokenizer in ["gpt-2", "smollm", "qwen2", "llama-bpe"] {
        let mut file = TinyModel::default().writer();
        file.string("tokenizer.ggml.pre", pretokenizer);
        let model = from(&file);
        let text = "hello, you're in 2026: the  light\n\nuser of é";
        let (after, _) = trimmed(&model, text, Some(272));
        let (whole, _) = trimmed(&model, text, None);
        assert_eq!(cut(&whole, text), cut(&model, text), "{pretokenizer}");
        let spelled = after.tokenizer.encode(text, Specials::Plain).unwrap();
        assert_eq!(after.tokenizer.decode(&spelled), text, "{pretokenizer}");
    }
}

#[test]
fn a_folder_is_trimmed_into_a_file() {
    let folder = TempDir::new().unwrap();
    write_folder(&TinyModel::default(), folder.path(), 2);
    let model = load(folder.path());
    let (after, _) = trimmed(&model, "hello you", None);
    assert_eq!(cut(&after, "hello you"), cut(&model, "hello you"));
    let tokens = |model: &Model| {
        model
            .tokenizer
            .encode("hello you", Specials::Plain)
            .unwrap()
    };
    let (old, new) = (
        logits(&model, &tokens(&model)),
        logits(&after, &tokens(&after)),
    );
    let scale = old.iter().fold(1.0, |most: f32, x| x.abs().max(most));
    for (place, number) in numbers_before(&model, &after).into_iter().enumerate() {
        let (a, b) = (old.column(number as usize), new.column(place));
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 * scale));
    }
}

#[test]
fn a_real_vocabulary_cuts_what_it_was_trimmed_for_as_before() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = load(&root.join("assets/hearth"));
    let text = std::fs::read_to_string(root.join("assets/texts/evaluation.txt")).unwrap();
    let text = &text[..text.floor_char_boundary(3000)];
    let (after, report) = trimmed(&model, text, None);
    assert!(report.tokens_after < report.tokens_before);
    assert!(report.tokens_after.is_multiple_of(16));
    assert!(report.tokens_in_samples < report.tokens_after);
    assert_eq!(cut(&after, text), cut(&model, text));
    let (again, _) = trimmed(&after, text, None);
    assert_eq!(numbers_before(&after, &again).len(), report.tokens_after);
}

#[test]
fn conversations_keep_their_words_and_what_is_around_them() {
    let model = tiny("llama", Head::Tied, Stored::F32);
    let lines = r#"{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the light"}]}"#;
    let chats = |lines| Sample::Chats {
        name: "c.jsonl",
        lines,
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    trim(&model, &[chats(lines)], None, &path, &Job::silent()).unwrap();
    let after = load(&path);
    for text in ["hello", "the light", "<|im_start|>user\nhello<|im_end|>\n"] {
        assert_eq!(cut(&after, text), cut(&model, text));
    }
    let wrong = trim(&model, &[chats("{}")], None, &path, &Job::silent()).unwrap_err();
    assert!(wrong.to_string().contains("c.jsonl"), "{wrong}");
}

#[test]
fn limits_are_kept_or_refused() {
    let model = tiny("llama", Head::Tied, Stored::F32);
    for most in [272, 280, 287, 288, 300, 5000] {
        let (after, report) = trimmed(&model, TEXT, Some(most));
        assert!(report.tokens_after <= most, "{most}: {report:?}");
        assert_eq!(after.hyperparameters.vocab as usize, report.tokens_after);
        assert_eq!(
            after
                .tokenizer
                .decode(&after.tokenizer.encode(TEXT, Specials::Plain).unwrap()),
            TEXT
        );
    }
    assert_eq!(
        trimmed(&model, TEXT, Some(5000)).1.tokens_after,
        vocabulary().len()
    );
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    let of = |text, most| trim(&model, &[sample(text)], most, &path, &Job::silent());
    let small = of(TEXT, Some(100)).unwrap_err();
    assert!(
        matches!(small, RewriteError::TooFewTokens { found: 100, .. }),
        "{small}"
    );
    let empty = of("", None).unwrap_err();
    assert_eq!(
        empty.to_string(),
        "expected a text of two tokens or more in t.txt"
    );
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `▁` is how SentencePiece writes a space: it cannot be told from one.
    #[test]
    fn any_text_can_still_be_said(text in "[^▁]{0,40}", words in "[a-z ]{0,40}") {
        for model in [tiny("llama", Head::Tied, Stored::F32), sentencepiece()] {
            let (after, _) = trimmed(&model, TEXT, None);
            for text in [&text, &words] {
                let tokens = after.tokenizer.encode(text, Specials::Plain).unwrap();
                prop_assert_eq!(&after.tokenizer.decode(&tokens), text);
            }
        }
    }
}
