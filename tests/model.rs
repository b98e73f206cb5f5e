//! Loading a model: what is read, and what is refused.

#[path = "support/tiny_model.rs"]
mod tiny_model;

use engine::shape::{Role, RopePairs};
use proptest::prelude::*;
use tiny_model::{GgufWriter, Head, MERGES, TinyModel, vocabulary};
use whittle::job::{CancelToken, Job};
use whittle::model::{
    BpeKind, Generation, Message, Model, ModelError, Pretokenizer, SourceType, SpacePrefix,
    Specials, TemplateSource, TokenKind,
};

fn load(file: &GgufWriter) -> Result<Model, ModelError> {
    Model::from_gguf("tiny.gguf", file.bytes(), &Job::silent())
}

/// The refusal of a changed tiny model.
fn refusal(change: impl FnOnce(&mut GgufWriter)) -> String {
    let mut file = TinyModel::default().writer();
    change(&mut file);
    load(&file).expect_err("a file to refuse").to_string()
}

#[test]
fn a_gguf_file_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, TinyModel::default().gguf()).unwrap();
    let model = Model::load(&path, &Job::silent()).unwrap();

    let h = &model.hyperparameters;
    assert_eq!(
        (model.name.as_str(), model.architecture.name()),
        ("tiny", "llama")
    );
    assert_eq!(
        (h.layers, h.hidden, h.feed_forward, h.vocab, h.context),
        (2, 64, 96, 300, 128)
    );
    assert_eq!((h.heads, h.kv_heads, h.head_dim), (4, 2, 16));
    assert_eq!((h.rope_pairs, h.norm_epsilon), (RopePairs::Adjacent, 1e-5));
    assert_eq!(model.rope_frequencies.len(), 8);
    assert_eq!(model.tensors.len(), 1 + 2 * 9 + 1);
    assert_eq!(model.file_bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(model.provenance.file_name, "tiny.gguf");
    assert_eq!(model.provenance.licence.as_deref(), Some("cc0-1.0"));
    assert_eq!(model.provenance.source_precision, "F32 100 %");

    let down = model.tensor(Role::Down, Some(1)).unwrap();
    assert_eq!(
        (down.name.as_str(), down.rows, down.cols),
        ("blk.1.ffn_down.weight", 64, 96)
    );
    assert_eq!((down.source, down.bytes), (SourceType::F32, 64 * 96 * 4));
    assert!(
        model.tensor(Role::Output, None).is_none(),
        "the head is tied"
    );
    let values = model.values(down);
    let mut row = vec![0.0; 96];
    model.row(down, 63, &mut row);
    assert_eq!(row, values[63 * 96..]);
    assert!(values.iter().all(|v| v.abs() <= (3.0_f32 / 96.0).sqrt()));
}

#[test]
fn the_hash_is_of_the_file() {
    let bytes = TinyModel::default().gguf();
    let model = Model::from_gguf("tiny.gguf", bytes.clone(), &Job::silent()).unwrap();
    let expected: String = <sha2::Sha256 as sha2::Digest>::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(model.sha256(&Job::silent()).unwrap(), expected);
}

#[test]
fn each_architecture_has_its_own_tensors() {
    for (architecture, pairs, role, head) in [
        ("llama", RopePairs::Adjacent, Role::Output, Head::Own),
        ("qwen2", RopePairs::Halves, Role::KeyBias, Head::Tied),
        ("qwen3", RopePairs::Halves, Role::QueryNorm, Head::Tied),
    ] {
        let tiny = TinyModel {
            architecture,
            head,
            ..TinyModel::default()
        };
        let model = load(&tiny.writer()).unwrap();
        assert_eq!(model.architecture.name(), architecture);
        assert_eq!(model.hyperparameters.rope_pairs, pairs);
        let layer = role.is_per_layer().then_some(1);
        assert!(
            model.tensor(role, layer).is_some(),
            "{architecture} {role:?}"
        );
    }
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    assert_eq!(
        refusal(|f| {
            f.without_tensor("blk.1.attn_k.weight");
        }),
        "tensor blk.1.attn_k.weight of shape [32, 64] is missing"
    );
    assert_eq!(
        refusal(|f| {
            f.tensor("blk.0.ffn_up.weight", &[64, 95], 0, vec![0; 64 * 95 * 4]);
        }),
        "tensor blk.0.ffn_up.weight: expected shape [96, 64], found [95, 64]"
    );
    let biased_in_one_layer = refusal(|f| {
        f.tensor("blk.0.attn_q.bias", &[64], 0, vec![0; 256]);
    });
    assert!(
        biased_in_one_layer.contains("blk.1.attn_q.bias"),
        "{biased_in_one_layer}"
    );
    let unknown = refusal(|f| {
        f.tensor("blk.0.ffn_gate_exps.weight", &[64], 0, vec![0; 256]);
    });
    assert!(unknown.contains("ffn_gate_exps"), "{unknown}");
    let beyond = refusal(|f| {
        f.tensor("blk.2.attn_norm.weight", &[64], 0, vec![0; 256]);
    });
    assert!(beyond.contains("a layer below 2"), "{beyond}");
    let mut qwen = TinyModel {
        architecture: "qwen2",
        ..TinyModel::default()
    }
    .writer();
    for layer in 0..2 {
        qwen.without_tensor(&format!("blk.{layer}.attn_q.bias"));
    }
    assert!(
        load(&qwen)
            .unwrap_err()
            .to_string()
            .contains("blk.0.attn_q.bias")
    );
}

#[test]
fn a_model_that_the_engine_would_compute_wrongly_is_refused() {
    let check = |key: &str, number: u32, part: &str| {
        let text = refusal(|f| {
            f.u32(key, number);
        });
        assert!(text.contains(part), "{key}: {text}");
    };
    check("llama.rope.dimension_count", 8, "rope.dimension_count 8");
    check(
        "llama.attention.value_length",
        8,
        "attention.value_length 8",
    );
    check("llama.attention.head_count_kv", 3, "kv_heads");
    check("llama.block_count", 0, "layers");
    check(
        "llama.vocab_size",
        299,
        "expected shape [299, 64], found [300, 64]",
    );
    let text = refusal(|f| {
        f.string("general.architecture", "mamba");
    });
    assert_eq!(
        text,
        "architecture mamba is not supported; supported: llama, qwen2, qwen3"
    );
    let text = refusal(|f| {
        f.string("llama.rope.scaling.type", "yarn");
        f.f32("llama.rope.scaling.factor", 4.0);
    });
    assert!(text.contains("rope scaling yarn"), "{text}");
    let text = refusal(|f| {
        f.string("tokenizer.ggml.pre", "tekken");
    });
    assert!(
        text.starts_with("pre-tokenizer tekken is not supported"),
        "{text}"
    );
}

#[test]
fn rope_scaling_comes_from_metadata_or_a_tensor_of_divisors() {
    let plain = load(&TinyModel::default().writer())
        .unwrap()
        .rope_frequencies;
    let mut linear = TinyModel::default().writer();
    linear
        .string("llama.rope.scaling.type", "linear")
        .f32("llama.rope.scaling.factor", 4.0);
    let linear = load(&linear).unwrap().rope_frequencies;
    assert!(
        plain
            .iter()
            .zip(&linear)
            .all(|(p, l)| (p / l - 4.0).abs() < 1e-6)
    );

    let mut divided = TinyModel::default().writer();
    let divisors = (1..=8_u8)
        .flat_map(|d| f32::from(d).to_le_bytes())
        .collect();
    divided.tensor("rope_freqs.weight", &[8], 0, divisors);
    let divided = load(&divided).unwrap();
    assert!((plain[7] / divided.rope_frequencies[7] - 8.0).abs() < 1e-6);
    assert_eq!(
        divided.tensors.len(),
        20,
        "the divisors are no tensor of the model"
    );
}

#[test]
fn tokens_of_the_tiny_model() {
    let model = load(&TinyModel::default().writer()).unwrap();
    let t = &model.tokenizer;
    let name = |id: u32| vocabulary()[id as usize].clone();
    let spelled = |text: &str, specials| -> Vec<String> {
        t.encode(text, specials)
            .unwrap()
            .into_iter()
            .map(name)
            .collect()
    };
    assert_eq!(
        spelled("hello the 42", Specials::Plain),
        ["hello", "Ġthe", "Ġ", "4", "2"]
    );
    assert_eq!(
        spelled("<|im_start|>user\n", Specials::Parse),
        ["<|im_start|>", "user", "Ċ"]
    );
    assert_eq!(
        spelled("<|im_end|>", Specials::Plain).len(),
        9,
        "spelled out, not obeyed"
    );
    assert_eq!(
        t.decode(&t.encode("héllo ☃ the", Specials::Plain).unwrap()),
        "héllo ☃ the"
    );
    assert_eq!(
        t.decode(&t.encode("<|im_end|>a", Specials::Parse).unwrap()),
        "a"
    );
    assert_eq!(
        (t.bos, t.adds_bos, t.eos.as_slice()),
        (Some(1), false, &[0, 2][..])
    );
    assert_eq!(t.token_bytes(3 + 0x0a), b"\n");
    assert_eq!(t.token_bytes(2), b"<|im_end|>");
    assert_eq!(t.token_kind(2), TokenKind::Control);
    assert_eq!((t.vocab_size(), t.token_bytes(300)), (300, &[][..]));
    assert_eq!(
        t.bpe().kind,
        BpeKind::ByteLevel {
            pretokenizer: Pretokenizer::SmolLm
        }
    );
    assert_eq!(t.bpe().merges.len(), MERGES.len());
    assert_eq!(name(t.bpe().merges[6].merged), "Ġthe");
}

#[test]
fn the_tables_alone_cut_words_as_the_tokenizer_does() {
    // What a packed file gets must be enough: merge by rank, over single bytes.
    let model = load(&TinyModel::default().writer()).unwrap();
    let t = &model.tokenizer;
    for word in [
        "hello",
        " the",
        " and",
        "user",
        "inging",
        " yoututhehe",
        "xyz",
    ] {
        let mut tokens: Vec<u32> = word.bytes().map(|b| 3 + u32::from(b)).collect();
        for merge in t.bpe().merges.clone() {
            let mut i = 0;
            while i + 1 < tokens.len() {
                if (tokens[i], tokens[i + 1]) == (merge.left, merge.right) {
                    tokens.splice(i..i + 2, [merge.merged]);
                }
                i += 1;
            }
        }
        assert_eq!(t.encode(word, Specials::Plain).unwrap(), tokens, "{word}");
    }
}

/// A SentencePiece vocabulary: control tokens, bytes, characters, pieces with falling scores.
fn sentencepiece(file: &mut GgufWriter) -> Vec<String> {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    let mut kinds = vec![2, 3, 3];
    for byte in 0..=255_u8 {
        tokens.push(format!("<0x{byte:02X}>"));
        kinds.push(6);
    }
    let pieces = [
        "▁t", "he", "▁the", "ll", "hell", "hello", "▁", "t", "h", "e", "l", "o", "a",
    ];
    tokens.extend(pieces.map(str::to_owned));
    kinds.resize(tokens.len(), 1);
    let scores: Vec<f32> = (0..tokens.len())
        .map(|i| if i < 259 { 0.0 } else { -(i as f32) })
        .collect();
    file.string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &kinds)
        .f32s("tokenizer.ggml.scores", &scores)
        .without("tokenizer.ggml.merges")
        .u32("tokenizer.ggml.unknown_token_id", 0);
    tokens
}

#[test]
fn sentencepiece_merges_by_score_and_falls_back_to_bytes() {
    let mut file = TinyModel::default().writer();
    let tokens = sentencepiece(&mut file);
    let model = load(&file).unwrap();
    let t = &model.tokenizer;
    let spelled = |text: &str, specials| -> Vec<String> {
        t.encode(text, specials)
            .unwrap()
            .iter()
            .map(|&id| tokens[id as usize].clone())
            .collect()
    };
    assert_eq!(
        spelled("the hello", Specials::Plain),
        ["▁the", "▁", "hello"]
    );
    assert_eq!(spelled("é", Specials::Plain), ["▁", "<0xC3>", "<0xA9>"]);
    assert_eq!(
        spelled("a</s>a", Specials::Parse),
        ["▁", "a", "</s>", "▁", "a"]
    );
    assert_eq!(
        t.decode(&t.encode("the hello\né", Specials::Plain).unwrap()),
        "the hello\né"
    );
    assert!(t.adds_bos);
    assert_eq!(
        t.bpe().kind,
        BpeKind::SentencePiece {
            space_prefix: SpacePrefix::EachSegment
        }
    );

    file.bool("tokenizer.ggml.add_space_prefix", false);
    let model = load(&file).unwrap();
    assert_eq!(
        model
            .tokenizer
            .decode(&model.tokenizer.encode(" a", Specials::Plain).unwrap()),
        " a"
    );
}

#[test]
fn a_conversation_is_written_as_the_model_was_taught() {
    let model = load(&TinyModel::default().writer()).unwrap();
    assert_eq!(model.chat.source, TemplateSource::Model);
    let hi = [Message {
        role: "user",
        content: "Hi",
    }];
    assert_eq!(
        model.chat.render(&hi, Generation::Prompt).unwrap(),
        "<|im_start|>system\nYou are tiny.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    let mut file = TinyModel::default().writer();
    file.without("tokenizer.chat_template");
    assert_eq!(load(&file).unwrap().chat.source, TemplateSource::Plain);
}

#[test]
fn loading_stops_when_it_is_cancelled() {
    let cancel = CancelToken::new();
    cancel.cancel();
    let job = Job::new(&|_| {}, cancel);
    let stopped = Model::from_gguf("tiny.gguf", TinyModel::default().gguf(), &job);
    assert!(matches!(stopped, Err(ModelError::Cancelled(_))));
}

#[test]
fn lies_in_the_header_are_refused_without_believing_them() {
    let good = TinyModel::default().gguf();
    let check = |at: usize, bytes: &[u8], part: &str| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let text = Model::from_gguf("x", file, &Job::silent())
            .unwrap_err()
            .to_string();
        assert!(text.contains(part), "{part}: {text}");
    };
    check(0, b"GGML", "the letters GGUF");
    check(4, &1_u32.to_le_bytes(), "GGUF version 1");
    check(4, &3_u32.to_be_bytes(), "big-endian");
    check(8, &u64::MAX.to_le_bytes(), "18446744073709551615 tensors");
    check(
        16,
        &u64::MAX.to_le_bytes(),
        "18446744073709551615 metadata entries",
    );
    check(
        24,
        &(1_u64 << 40).to_le_bytes(),
        "the file ends inside a metadata key",
    );
    for length in [0, 3, 23, 100, good.len() / 2, good.len() - 33] {
        assert!(
            Model::from_gguf("x", good[..length].to_vec(), &Job::silent()).is_err(),
            "{length}"
        );
    }
}

#[test]
fn tensors_must_lie_inside_the_file_and_apart() {
    let text = refusal(|f| {
        f.u32("general.alignment", 24);
    });
    assert!(text.contains("general.alignment"), "{text}");
    let text = refusal(|f| {
        f.tensor("blk.0.ffn_up.weight", &[64, 96], 0, vec![0; 32]);
    });
    assert!(text.contains("on top of it"), "{text}");
    let text = refusal(|f| {
        f.tensor("output.weight", &[64, 1 << 60], 0, vec![]);
    });
    assert!(text.contains("tensor output.weight"), "{text}");
    let text = refusal(|f| {
        f.tensor("output.weight", &[33, 300], 8, vec![]);
    });
    assert!(text.contains("rows of whole Q8_0 blocks"), "{text}");
    let text = refusal(|f| {
        f.tensor("output.weight", &[64, 300], 16, vec![]);
    });
    assert!(text.contains("IQ2_XXS is not supported"), "{text}");
}

#[test]
fn info_prints_numbers_and_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, TinyModel::default().gguf()).unwrap();
    let run = |arguments: &[&str]| {
        let whittle = std::process::Command::new(env!("CARGO_BIN_EXE_whittle"))
            .args(arguments)
            .arg(&path)
            .output()
            .unwrap();
        (
            whittle.status.code(),
            String::from_utf8(whittle.stdout).unwrap(),
        )
    };
    let (code, text) = run(&["--json", "info"]);
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(info["architecture"], "llama");
    assert_eq!(
        (&info["layers"], &info["hidden"], &info["vocab"]),
        (&2.into(), &64.into(), &300.into())
    );
    assert_eq!(info["bits_per_weight"], 32.0);
    assert_eq!(info["file_bytes"], std::fs::metadata(&path).unwrap().len());
    let tensors = info["tensors"].as_array().unwrap();
    let product =
        |t: &serde_json::Value| t["shape"][0].as_u64().unwrap() * t["shape"][1].as_u64().unwrap();
    assert_eq!(info["parameters"], tensors.iter().map(product).sum::<u64>());
    assert_eq!(
        tensors[2],
        serde_json::json!({"name": "blk.0.attn_q.weight", "role": "query", "shape": [64, 64],
            "type": "F32", "bits": 32.0, "bytes": 16384})
    );
    let (code, text) = run(&["info"]);
    assert_eq!((code, text.lines().count()), (Some(0), 15 + 1 + 20));

    std::fs::write(&path, b"GGUF").unwrap();
    assert_eq!(run(&["info"]).0, Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Model::from_gguf("x", bytes.clone(), &Job::silent()).is_err());
        let head = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0";
        bytes.splice(0..0, head.iter().copied());
        prop_assert!(Model::from_gguf("x", bytes, &Job::silent()).is_err());
    }

    #[test]
    fn a_damaged_file_loads_or_is_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        // Damage in the header is the interesting one: it has about a tenth of the bytes.
        let mut bytes = TinyModel { layers: 1, ..TinyModel::default() }.gguf();
        for (index, value) in changes {
            let at = index.index(12_000);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(model) = Model::from_gguf("x", bytes, &Job::silent()) {
            let tokens = model.tokenizer.encode("<|im_start|>hello, the world", Specials::Parse);
            if let Ok(tokens) = tokens {
                drop(model.tokenizer.decode(&tokens));
            }
            drop(model.chat.pieces());
            for tensor in &model.tensors {
                model.row(tensor, tensor.rows - 1, &mut vec![0.0; tensor.cols]);
            }
        }
    }
}
