//! The models that come along: hearth in the program, and its low-bit variant.

use super::Bench;
use serde_json::Value;
use std::path::Path;
use whittle::packed::intent::IntentLine;

#[test]
fn the_built_in_model_is_there_without_a_network_and_mends_itself() {
    let bench = Bench::new();
    let listed = |bench: &Bench| {
        let models = bench.json(&["models"])["models"].clone();
        let found = models.as_array().unwrap().iter();
        let built_in: Vec<Value> = found.filter(|m| m["built_in"] == true).cloned().collect();
        assert_eq!(built_in.len(), 1, "{models}");
        built_in[0].clone()
    };
    let before = listed(&bench);
    assert_eq!(
        (&before["name"], &before["installed"]),
        (&"hearth".into(), &Value::Null)
    );
    let info = bench.json(&["info", "hearth"]);
    assert_eq!(
        (&info["dialogue"], &info["context"]),
        (&"commands".into(), &256.into())
    );
    assert!(info["licence"].is_string(), "{info}");
    assert!(!bench.path("cache").exists(), "it is read from the program");
    assert_eq!(listed(&bench)["installed"], Value::Null);

    // Who wants its files gets them, and again where they were damaged.
    let folder = bench.json(&["fetch", "hearth"])["models"][0]["folder"].clone();
    assert_eq!(listed(&bench)["installed"], folder);
    let weights = Path::new(folder.as_str().unwrap()).join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let mut flipped = whole.clone();
    flipped[3_000_000] ^= 1;
    for damage in [
        &flipped[..],
        &whole[..1_000_000],
        b"",
        &[whole.as_slice(), b"more"].concat(),
    ] {
        std::fs::write(&weights, damage).unwrap();
        bench.json(&["fetch", "hearth"]);
        assert!(std::fs::read(&weights).unwrap() == whole, "mended");
    }
    std::fs::remove_file(Path::new(folder.as_str().unwrap()).join("tokenizer.json")).unwrap();
    bench.json(&["fetch", "hearth"]);
    let as_folder = bench.json(&["info", folder.as_str().unwrap()]);
    assert_eq!(as_folder, info, "the same model");
}

#[test]
fn a_model_folder_that_cannot_be_written_is_one_sentence() {
    let bench = Bench::new();
    std::fs::write(bench.path("cache"), "a file where the folder should be").unwrap();
    let message = bench.failure(&["fetch", "hearth"], 1);
    assert!(
        message.contains("cannot write") && message.trim_end().lines().count() == 1,
        "{message}"
    );
    bench.json(&["info", "hearth"]);
}

/// The area of an intent line that turns something on.
fn area_turned_on(line: &Value) -> Option<String> {
    let line = line.as_str().unwrap();
    let parsed = IntentLine::parse(line).unwrap_or_else(|| panic!("no intent line: {line}"));
    (parsed.intent == "HassTurnOn").then(|| parsed.slots["area"].clone())
}

#[cfg(all(unix, feature = "voice", feature = "flash"))]
#[test]
fn the_demo_answers_in_writing_offline_and_says_what_voice_needs() {
    let bench = Bench::new();
    let output = bench
        .command(&["demo", "--json"])
        .env("WHITTLE_HUB", "")
        .env("WHITTLE_PYTHON", "no-such-python")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let demo: Value = serde_json::from_slice(&output.stdout).unwrap();
    let chat = &demo["chat"];
    assert_eq!(
        area_turned_on(&chat["intent"]).as_deref(),
        Some("kitchen"),
        "{chat}"
    );
    // The reply is what would be spoken: all that follows the intent line, and nothing of it.
    let reply = chat["reply"].as_str().unwrap();
    assert!(
        !reply.is_empty() && !reply.contains(['@', '\n']) && !reply.contains("Hass"),
        "{reply}"
    );
    assert!(chat["first_token_seconds_after_start"].as_f64().unwrap() > 0.0);

    let missing: Vec<_> = demo["talk"]["missing"].as_array().unwrap().iter().collect();
    let names: Vec<_> = missing
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["whisper-tiny.en", "hibari"]);
    assert!(
        missing
            .iter()
            .all(|m| m["bytes"].as_u64().unwrap() > 1_000_000)
    );
    assert_eq!(
        demo["flash"]["recipe"], "balanced-4bit",
        "hearth fits the board as it is"
    );
    assert!(
        !bench.path("cache/models").exists(),
        "nothing was downloaded"
    );

    let told = bench.run(&["demo"]);
    let told = String::from_utf8(told.stdout).unwrap();
    let expected =
        "whisper-tiny.en (78 MB) and hibari (14 MB): run `whittle fetch whisper-tiny.en hibari`";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_packed_hearth_takes_a_command_however_it_is_typed_and_forgets_it() {
    let bench = Bench::new();
    let out = ["--recipe", "balanced-4bit", "--out", "hearth.whittle"];
    bench.json(&[&["compress", "hearth"], &out[..]].concat());
    let ask = |prompt: &str, more: &[&str]| {
        let chat = ["chat", "hearth.whittle", "--prompt", prompt];
        bench.json(&[&chat, more].concat())
    };
    let plain = ask("turn on the kitchen light", &[]);
    let (line, reply) = plain["text"].as_str().unwrap().split_once('\n').unwrap();
    assert_eq!(
        area_turned_on(&line.into()).as_deref(),
        Some("kitchen"),
        "{plain}"
    );
    assert!(!reply.is_empty(), "{plain}");
    let hash = |answer: &Value| answer["logits_hash"].clone();
    let own = ["--system", "You are hearth, the voice of this home."];
    for typed in [
        ask("Turn on the kitchen light!", &[]),
        ask("  turn ON the kitchen-light. ", &[]),
        ask("Turn on the kitchen light", &own),
    ] {
        assert_eq!(hash(&typed), hash(&plain), "{typed}");
    }
    let other = ask(
        "turn on the kitchen light",
        &["--system", "You are somebody else."],
    );
    assert_ne!(hash(&other), hash(&plain), "another system text counts");
    // What stands before the command is in words of its own, and stays as it is.
    let here = ask("here kitchen\nTurn on the light!", &[]);
    assert_eq!(
        hash(&here),
        hash(&ask("here kitchen\nturn on the light", &[]))
    );
    assert_ne!(hash(&here), hash(&ask("turn on the light", &[])));
}

#[test]
fn the_low_bit_hearth_is_packed_as_it_is_and_answers() {
    let bench = Bench::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth-low-bit");
    let recipe = model.join("recipe.toml");
    let [model, recipe] = [&model, &recipe].map(|path| path.to_str().unwrap());
    let start = ["compress", model, "--recipe", recipe, "--exact"];
    let report = bench.json(&[&start[..], &["--out", "low.whittle"]].concat());
    assert_eq!(report["exact_matrices"], report["matrices"]);
    assert!(report["bytes"].as_u64().unwrap() < 850_000, "{report}");
    // The seed's recipe at no more than 1.5 bits a weight in the feed-forward blocks, scales counted.
    let (mut bits, mut weights) = (0, 0);
    for tensor in report["tensors"].as_array().unwrap() {
        if tensor["name"].as_str().unwrap().contains(".ffn_") && tensor["encoding"] == "1of4" {
            bits += 8 * tensor["bytes"].as_u64().unwrap();
            weights += 192 * 448;
        }
    }
    assert_eq!(weights, 15 * 192 * 448, "{report}");
    assert!(2 * bits <= 3 * weights, "{bits} bits of {weights} weights");
    let answer = bench.json(&[
        "chat",
        "low.whittle",
        "--prompt",
        "Turn on the kitchen light!",
    ]);
    let line = answer["text"].as_str().unwrap().lines().next();
    assert_eq!(area_turned_on(&line.into()).as_deref(), Some("kitchen"));
}
