//! Loading a Hugging Face folder.

#[path = "support/tiny_folder.rs"]
mod tiny_folder;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use engine::dialogue::Dialogue;
use engine::shape::{Role, RopePairs};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;
use tiny_folder::write_folder;
use tiny_model::{Head, TinyModel};
use whittle::job::Job;
use whittle::model::{
    BpeKind, Generation, Message, Model, ModelError, Normalization, Pretokenizer, SpacePrefix,
    Specials, WholeWords,
};

fn tiny_folder(tiny: &TinyModel, shards: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_folder(tiny, folder.path(), shards);
    folder
}

fn load(folder: &Path) -> Result<Model, ModelError> {
    Model::load(folder, &Job::silent())
}

/// Changes one JSON file of a folder.
fn edit(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).expect("a file of the folder");
    let mut value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("a writable file");
}

/// The refusal of a folder with one changed file.
fn refusal(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let folder = tiny_folder(&TinyModel::default(), 1);
    edit(folder.path(), name, change);
    let refused = load(folder.path()).expect_err("a folder to refuse");
    refused.to_string()
}

#[test]
fn a_folder_is_read_whole_in_one_file_or_in_shards() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let tiny = TinyModel {
            architecture,
            head: Head::Own,
            ..TinyModel::default()
        };
        let [one, three] = [1, 3].map(|shards| tiny_folder(&tiny, shards));
        let [one, three] = [&one, &three].map(|folder| load(folder.path()).unwrap());
        assert_eq!(one.hyperparameters, three.hyperparameters);
        assert_eq!(
            one.hyperparameters.rope_pairs,
            RopePairs::Halves,
            "{architecture}"
        );
        assert_eq!(one.provenance.licence.as_deref(), Some("cc0-1.0"));
        assert_eq!(one.provenance.source_precision, "BF16 100 %");
        assert_eq!(one.tensors.len(), tiny.tensors().len());
        for tensor in &one.tensors {
            let same = three.tensor(tensor.role, tensor.layer).unwrap();
            assert_eq!(same.name, tensor.name);
            assert_eq!(one.values(tensor), three.values(same), "{}", tensor.name);
        }
        // The same numbers as GGUF, but for the order of the pairs.
        let gguf = Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap();
        assert_eq!(gguf.rope_frequencies, one.rope_frequencies);
        assert_eq!(gguf.hyperparameters.vocab, one.hyperparameters.vocab);
    }
}

#[test]
fn a_folder_cuts_text_as_its_gguf_and_as_hugging_face_do() {
    let folder = tiny_folder(&TinyModel::default(), 1);
    let model = load(folder.path()).unwrap();
    let gguf = Model::from_gguf("x", TinyModel::default().gguf(), &Job::silent()).unwrap();
    let reference = tokenizers::Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
    for text in [
        "hello the 42",
        "<|im_start|>user\nhello you<|im_end|>\n",
        " naïve ☃\u{301} it's  the\t end \n\n",
        "",
    ] {
        let tokens = model.tokenizer.encode(text, Specials::Parse).unwrap();
        assert_eq!(
            tokens,
            reference.encode(text, false).unwrap().get_ids(),
            "{text}"
        );
        assert_eq!(
            tokens,
            gguf.tokenizer.encode(text, Specials::Parse).unwrap(),
            "{text}"
        );
        assert_eq!(
            model.tokenizer.decode(&tokens),
            reference.decode(&tokens, true).unwrap()
        );
    }
    assert_eq!(model.tokenizer.bpe(), gguf.tokenizer.bpe());
    assert_eq!(model.tokenizer.eos, gguf.tokenizer.eos);
    assert_eq!(model.tokenizer.bos, Some(1));
    let hi = [Message {
        role: "user",
        content: "Hi",
    }];
    assert_eq!(
        model.chat.render(&hi, Generation::Prompt).unwrap(),
        gguf.chat.render(&hi, Generation::Prompt).unwrap()
    );
    assert_eq!(model.chat.pieces().unwrap(), gguf.chat.pieces().unwrap());
}

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A pre-tokenizer of one pattern and the byte alphabet.
fn split(pattern: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]})
}

#[test]
fn the_pipelines_of_qwen_and_llama_are_known() {
    let check = |pattern: &str, ignore_merges: bool, normalizer: Value| {
        let folder = tiny_folder(&TinyModel::default(), 1);
        edit(folder.path(), "tokenizer.json", |t| {
            t["pre_tokenizer"] = split(pattern);
            t["normalizer"] = normalizer;
            t["model"]["ignore_merges"] = ignore_merges.into();
        });
        let model = load(folder.path()).unwrap();
        let reference =
            tokenizers::Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        for text in [
            "it'S 12345 o\u{308}...\n\n the  hello",
            "a\r\n b\u{a0}!?\n",
            "ÄÖ 1½ ２",
        ] {
            let tokens = model.tokenizer.encode(text, Specials::Plain).unwrap();
            assert_eq!(
                tokens,
                reference.encode(text, false).unwrap().get_ids(),
                "{text}"
            );
        }
        model.tokenizer.bpe().clone()
    };
    let qwen = check(QWEN2, false, json!({"type": "NFC"}));
    assert_eq!(
        qwen.kind,
        BpeKind::ByteLevel {
            pretokenizer: Pretokenizer::Qwen2
        }
    );
    assert_eq!(
        (qwen.normalization, qwen.whole_words),
        (Normalization::Nfc, WholeWords::Merged)
    );
    let llama = check(
        &QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|"),
        true,
        Value::Null,
    );
    assert_eq!(
        llama.kind,
        BpeKind::ByteLevel {
            pretokenizer: Pretokenizer::Llama3
        }
    );
    assert_eq!(
        (llama.normalization, llama.whole_words),
        (Normalization::None, WholeWords::LookedUp)
    );
}

#[test]
fn the_pipeline_of_tinyllama_is_known() {
    let folder = tiny_folder(&TinyModel::default(), 1);
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend(
        [
            "▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello",
        ]
        .map(str::to_owned),
    );
    let vocab: serde_json::Map<String, Value> = texts
        .into_iter()
        .zip(0..)
        .map(|(t, i)| (t, json!(i)))
        .collect();
    edit(folder.path(), "tokenizer.json", |t| {
        let added = ["<unk>", "<s>", "</s>"]
            .into_iter()
            .zip(0..)
            .map(|(content, id)| {
                json!({"id": id, "content": content, "special": true, "single_word": false,
                   "lstrip": false, "rstrip": false, "normalized": false})
            });
        t["added_tokens"] = added.collect();
        t["normalizer"] = json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
        t["pre_tokenizer"] = Value::Null;
        t["post_processor"] = json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}});
        t["decoder"] = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
        t["model"]["byte_fallback"] = true.into();
        t["model"]["fuse_unk"] = true.into();
        t["model"]["unk_token"] = "<unk>".into();
        t["model"]["vocab"] = vocab.into();
        t["model"]["merges"] = json!(["h e", "l l", "he ll", "hell o", "▁ hello"]);
    });
    edit(folder.path(), "tokenizer_config.json", |c| {
        c["bos_token"] = "<s>".into();
        c["eos_token"] = "</s>".into();
    });
    let model = load(folder.path()).unwrap();
    let reference = tokenizers::Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
    for text in ["hello  hello", "</s>hello</s> é\n", " hello"] {
        let tokens = model.tokenizer.encode(text, Specials::Parse).unwrap();
        assert_eq!(
            tokens,
            reference.encode(text, false).unwrap().get_ids(),
            "{text}"
        );
        assert_eq!(
            model.tokenizer.decode(&tokens),
            reference.decode(&tokens, true).unwrap()
        );
    }
    assert!(model.tokenizer.adds_bos);
    assert_eq!(model.tokenizer.eos, [2]);
    let kind = BpeKind::SentencePiece {
        space_prefix: SpacePrefix::EachSegment,
    };
    assert_eq!(model.tokenizer.bpe().kind, kind);
}

#[test]
fn a_tied_head_is_not_read_twice() {
    let own = TinyModel {
        head: Head::Own,
        ..TinyModel::default()
    };
    let folder = tiny_folder(&own, 1);
    edit(folder.path(), "config.json", |c| {
        c["tie_word_embeddings"] = true.into()
    });
    assert!(
        load(folder.path())
            .unwrap()
            .tensor(Role::Output, None)
            .is_none()
    );
    let text = refusal("config.json", |c| c["tie_word_embeddings"] = false.into());
    assert_eq!(text, "tensor lm_head.weight of shape [300, 64] is missing");
}

#[test]
fn rope_scaling_of_llama_3_is_read_in_both_spellings() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10_000.0});
    let [old, new] = ["rope_scaling", "rope_parameters"].map(|key| {
        let folder = tiny_folder(&TinyModel::default(), 1);
        edit(folder.path(), "config.json", |c| c[key] = llama3.clone());
        load(folder.path()).unwrap().rope_frequencies
    });
    assert_eq!(old, new);
    let plain = load(tiny_folder(&TinyModel::default(), 1).path())
        .unwrap()
        .rope_frequencies;
    assert_eq!((old[0], old[7] * 8.0), (plain[0], plain[7]));
}

#[test]
fn a_model_may_say_that_it_is_asked_in_commands() {
    let folder = tiny_folder(&TinyModel::default(), 1);
    assert_eq!(
        load(folder.path()).unwrap().dialogue,
        Dialogue::Conversation
    );
    let key = "whittle_dialogue";
    edit(folder.path(), "tokenizer_config.json", |c| {
        c[key] = "commands".into()
    });
    assert_eq!(load(folder.path()).unwrap().dialogue, Dialogue::Commands);
    let text = refusal("tokenizer_config.json", |c| c[key] = "poems".into());
    assert!(
        text.contains("poems") && text.contains("commands"),
        "{text}"
    );
}

#[test]
fn what_the_engine_would_compute_wrongly_is_refused() {
    let check = |key: &str, value: Value, part: &str| {
        let text = refusal("config.json", |c| c[key] = value);
        assert!(text.contains(part), "{key}: {text}");
    };
    check("model_type", "gemma".into(), "architecture gemma");
    check("hidden_act", "gelu".into(), "hidden_act gelu");
    check(
        "rope_scaling",
        json!({"type": "yarn", "factor": 4.0}),
        "rope scaling yarn",
    );
    check("rope_scaling", json!({"type": "linear"}), "rope factor");
    check("partial_rotary_factor", 0.5.into(), "partial_rotary_factor");
    check(
        "quantization_config",
        json!({"quant_method": "gptq"}),
        "quantization_config",
    );
    check("hidden_size", 32.into(), "expected shape");
    check("vocab_size", 0.into(), "vocab");
    check("hidden_size", "wide".into(), "config.json");
    let text = refusal("tokenizer.json", |t| t["pre_tokenizer"] = split("x+"));
    assert!(text.contains("tokenizer pipeline"), "{text}");
    let text = refusal("tokenizer.json", |t| t["model"]["vocab"]["zz"] = 300.into());
    assert!(text.contains("tokens below 300"), "{text}");
    let text = refusal("tokenizer.json", |t| t["model"]["merges"] = json!(["Ġ zz"]));
    assert!(text.contains("merge 0"), "{text}");
}

#[test]
fn a_shard_outside_the_folder_is_refused() {
    for name in [
        "../model-0-of-2.safetensors",
        "/etc/passwd",
        "..",
        "a/b",
        "a\\b",
        "C:x",
        "",
    ] {
        let folder = tiny_folder(&TinyModel::default(), 2);
        edit(folder.path(), "model.safetensors.index.json", |index| {
            index["weight_map"]["model.norm.weight"] = name.into();
        });
        let text = load(folder.path()).unwrap_err().to_string();
        assert!(text.contains("plain file names"), "{name}: {text}");
    }
}

#[test]
fn an_index_that_promises_too_much_is_refused() {
    let folder = tiny_folder(&TinyModel::default(), 2);
    edit(folder.path(), "model.safetensors.index.json", |index| {
        index["weight_map"]["model.norm.weight"] = "model-0-of-2.safetensors".into();
    });
    let text = load(folder.path()).unwrap_err().to_string();
    assert!(
        text.contains("model.norm.weight, which the index promises"),
        "{text}"
    );
}

#[test]
fn an_empty_folder_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let text = load(folder.path()).unwrap_err().to_string();
    assert!(
        text.starts_with("cannot read") && text.contains("config.json"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_folder_loads_or_is_refused(
        name in proptest::sample::select(vec!["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let tiny = TinyModel { layers: 1, ..TinyModel::default() };
        let folder = tiny_folder(&tiny, 1);
        let path = folder.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let header = bytes.len().min(1500);
        for (index, value) in changes {
            let at = index.index(header);
            bytes[at] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(model) = load(folder.path()) {
            for tensor in &model.tensors {
                model.row(tensor, tensor.rows - 1, &mut vec![0.0; tensor.cols]);
            }
        }
    }
}
