//! A host and the board: written, started, asked, cancelled.

use super::{
    SOON, client, desktop, flash, go_on, golden, golden_file, golden_path, hearth, image, question,
    running, start_of,
};
use engine::format::Packed;
use engine::sampler::Sampling;
use std::ops::ControlFlow;
use whittle::job::{CancelToken, Job};
use whittle::link::{
    BoardQuestion, Client, Device, EMULATED, FAKE, FlashOptions, FlashPlan, Greeting,
    HELLO_PATIENCE, Part, ProofError, TalkError, deploy, measure, prove,
};
use whittle::measured::Clock;
use whittle::packed::PackedModel;

/// The whole road: compress, flash, boot what was flashed, hello, chat, the desktop's hash; then a second time.
#[test]
fn a_board_that_was_written_says_hello_and_answers_with_the_desktops_bits() {
    let folder = tempfile::tempdir().unwrap();
    let packed = hearth();
    let image = image(packed.bytes());
    let (options, job) = (FlashOptions::default(), Job::silent());
    let mut found = Vec::new();
    let mut show = |before: Option<&Greeting>, plan: &FlashPlan| {
        found.push((
            before.map(|greeting| greeting.board.clone()),
            plan.write_bytes,
        ));
        ControlFlow::Continue(())
    };
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    let deployed = deploy(&device, (&image, &packed), &options, &mut show, &job)
        .unwrap()
        .unwrap();
    let proof = deployed
        .proof
        .unwrap_or_else(|| panic!("{:?}", deployed.unproven));
    assert_eq!(proof.hello.board, "esp32c3");
    assert_eq!(proof.hello.chip_revision.as_deref(), Some("0.3"));
    let model = proof.hello.model.as_ref().unwrap();
    assert_eq!(
        (model.name.as_str(), model.bytes as usize),
        ("hearth", packed.bytes().len())
    );
    drop(device);

    // Another program, another day: the flash is still there, and nothing is written twice.
    let device = Device::open(EMULATED, Some(folder.path()), 0).unwrap();
    let mut client = Client::open(device.port(), device.reset()).unwrap();
    let hello = client.hello(HELLO_PATIENCE, &job).unwrap();
    for prompt in ["Turn ON the kitchen light!", "what time is it"] {
        let mut shown = String::new();
        let mut show = |text: &str| {
            shown += text;
            ControlFlow::Continue(())
        };
        let answer = client
            .ask(&hello, &question(prompt), &job, &mut show)
            .unwrap();
        let expected = desktop(&packed, prompt);
        assert_eq!(answer.logits_hash, expected.logits_hash, "{prompt}");
        assert_eq!(
            (&answer.tokens, &answer.text),
            (&expected.tokens, &expected.text)
        );
        assert_eq!((shown, answer.stop), (expected.text, "stop_token"));
    }
    let again = deploy(&device, (&image, &packed), &options, &mut show, &job)
        .unwrap()
        .unwrap();
    assert_eq!((again.flashed.written_bytes, again.unproven), (0, None));
    assert_eq!(again.before.unwrap().model.unwrap().name, "hearth");
    // It measures itself, and says that it is no chip.
    let mut client = device.client().unwrap();
    let report = measure(&mut client, &packed, "turn on the light", &job).unwrap();
    assert_eq!(report.clock, Clock::Emulated);
    assert!(
        report
            .title()
            .starts_with("counted on an emulated esp32c3 revision 0.3 at 160 MHz")
    );
    // What runs there is asked before it is rewritten: nothing at first.
    assert_eq!(found, [(None, image.bytes()), (Some("esp32c3".into()), 0)]);
    // The one without a memory is new.
    let fake = Device::open(FAKE, Some(folder.path()), 4 << 20).unwrap();
    let mut client = Client::open(fake.port(), fake.reset()).unwrap();
    assert!(client.hello(SOON, &job).is_err());
}

#[test]
fn an_intent_is_an_event_of_its_own_and_a_seed_draws_the_desktops_tokens() {
    let packed = hearth();
    let board = running(flash(&image(packed.bytes())));
    let mut client = client(&board);
    let job = Job::silent();
    let hello = client.hello(HELLO_PATIENCE, &job).unwrap();
    let sampling = Sampling {
        temperature: 1.5,
        top_k: 40,
        repetition_penalty: 1.3,
        seed: 11,
        ..Sampling::GREEDY
    };
    for sampling in [Sampling::GREEDY, sampling] {
        let prompt = "turn off the bedroom lamp";
        let asked = BoardQuestion {
            sampling,
            max_tokens: 12,
            ..question(prompt)
        };
        let answer = client.ask(&hello, &asked, &job, &mut go_on).unwrap();
        let expected = super::desktop_drawing(&packed, prompt, sampling, 12);
        assert_eq!(answer.tokens, expected.tokens);
        assert_eq!(answer.logits_hash, expected.logits_hash);
        let line = whittle::packed::intent::AnswerParts::of(&expected.text).line;
        assert_eq!(answer.intent.as_deref(), line, "{}", expected.text);
    }
}

#[test]
fn every_golden_model_gives_its_golden_answer_over_the_protocol() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let table = golden::read(&folder.join("packed/answers.snap"));
    let job = Job::silent();
    for (name, file) in golden::files(&folder.join("packed")) {
        let board = running(flash(&image(&file)));
        let mut client = client(&board);
        let hello = client.hello(HELLO_PATIENCE, &job).unwrap();
        let asked = BoardQuestion {
            max_tokens: golden::MAX_TOKENS as u32,
            context: golden::CONTEXT as u32,
            ..question(golden::PROMPT)
        };
        let answer = client.ask(&hello, &asked, &job, &mut go_on).unwrap();
        let kv_bits = usize::from(hello.model.unwrap().kv_bits);
        let expected = table
            .iter()
            .find(|row| row.name == name && row.cache.bits() == kv_bits)
            .unwrap();
        assert_eq!(
            (answer.tokens, answer.logits_hash),
            (expected.tokens.clone(), expected.hash),
            "{name}"
        );
    }
}

#[test]
fn an_answer_is_cancelled_within_a_token_and_the_next_one_comes() {
    let packed = hearth();
    let board = running(flash(&image(packed.bytes())));
    let mut client = client(&board);
    let silent = Job::silent();
    let hello = client.hello(HELLO_PATIENCE, &silent).unwrap();
    // By the person who reads along: after the second token.
    let mut tokens = 0;
    let mut two = |_: &str| {
        tokens += 1;
        if tokens < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let cut = client
        .ask(
            &hello,
            &question("turn on the kitchen light"),
            &silent,
            &mut two,
        )
        .unwrap();
    assert_eq!(cut.stop, "cancelled");
    assert!((2..=4).contains(&cut.tokens.len()), "{cut:?}");
    // By Ctrl-C, while the prompt is computed.
    let token = CancelToken::default();
    token.cancel();
    let draw = |_: whittle::job::Progress<'_>| {};
    let cancelled = Job::new(&draw, token);
    let asked = client.ask(
        &hello,
        &question("turn on the kitchen light"),
        &cancelled,
        &mut go_on,
    );
    assert!(matches!(asked, Err(TalkError::Cancelled(_))), "{asked:?}");
    let answer = client
        .ask(
            &hello,
            &question("turn on the kitchen light"),
            &silent,
            &mut go_on,
        )
        .unwrap();
    assert_eq!(
        answer.logits_hash,
        desktop(&packed, "turn on the kitchen light").logits_hash
    );
}

/// What a spoken conversation asks: the answer comes piece by piece, and ends where somebody speaks over it or has enough.
#[cfg(feature = "voice")]
#[test]
fn a_board_answers_a_spoken_conversation_and_is_interrupted() {
    use whittle::board::Board;
    use whittle::link::BoardAssistant;
    use whittle::voice::Assistant as _;
    let (packed, job, heard) = (hearth(), Job::silent(), "Turn on the kitchen light.");
    let board = running(flash(&image(packed.bytes())));
    let mut assistant = BoardAssistant::new(client(&board), Sampling::GREEDY, &job);
    let mut said = String::new();
    let mut listen = |text: &str| {
        said += text;
        ControlFlow::Continue(())
    };
    assistant.reply(heard, &mut listen).unwrap();
    let turn = assistant.last.lock().unwrap().take().unwrap();
    assert_eq!(said, turn.answer.text);
    assert!(said.starts_with("HassTurnOn@area kitchen"), "{said}");
    let question = BoardQuestion::spoken(heard, Sampling::GREEDY);
    let known = (&packed, Board::presets());
    let turn = turn.beside(known, &question, &job).unwrap();
    assert_eq!((turn.same_here, turn.differs), (Some(true), None));
    assert_eq!(turn.estimated.unwrap().board, "esp32-c3");

    // Somebody speaks over it after the second token.
    let mut tokens = 0;
    let mut two = |_: &str| {
        tokens += 1;
        if tokens < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    assistant.reply(heard, &mut two).unwrap();
    let cut = assistant.last.lock().unwrap().take().unwrap().answer;
    assert_eq!(cut.stop, "cancelled");
    assert!((2..=4).contains(&cut.tokens.len()), "{cut:?}");
    drop(assistant);

    // Ctrl-C at the first token: nothing is kept of the answer, and the board is free for the next.
    let (token, draw) = (CancelToken::default(), |_: whittle::job::Progress<'_>| {});
    let cancelled = Job::new(&draw, token.clone());
    let mut assistant = BoardAssistant::new(client(&board), Sampling::GREEDY, &cancelled);
    let mut tokens = 0;
    let mut first = |_: &str| {
        tokens += 1;
        token.cancel();
        ControlFlow::Continue(())
    };
    assistant.reply(heard, &mut first).unwrap();
    assert!(assistant.last.lock().unwrap().is_none());
    drop(assistant);
    assert!((1..=3).contains(&tokens), "{tokens}");
    let mut assistant = BoardAssistant::new(client(&board), Sampling::GREEDY, &job);
    assistant.reply(heard, &mut go_on).unwrap();
    let again = assistant.last.lock().unwrap().take().unwrap().answer;
    assert_eq!(again.logits_hash, turn.answer.logits_hash);
}

#[test]
fn a_board_without_a_whole_model_stays_reachable_and_says_why() {
    let packed = PackedModel::open(&golden_path(), &Job::silent()).unwrap();
    let image = image(packed.bytes());
    let model = start_of(&image, Part::Model);
    let last = Packed::parse(packed.bytes())
        .unwrap()
        .entries()
        .last()
        .unwrap()
        .offset;
    let damaged = |damage: &dyn Fn(&mut [u8])| {
        let mut flash = flash(&image);
        damage(&mut flash);
        flash
    };
    let check = |flash: Vec<u8>, why: &str| {
        let board = running(flash);
        let mut client = client(&board);
        let hello = client.hello(HELLO_PATIENCE, &Job::silent()).unwrap();
        let refusal = hello.refusal.clone().unwrap();
        assert!(refusal.contains(why) && hello.model.is_none(), "{refusal}");
        for _ in 0..2 {
            let asked = client.ask(&hello, &question("x"), &Job::silent(), &mut go_on);
            let told = asked.unwrap_err().to_string();
            assert_eq!(told, format!("the board refused: {refusal}"));
        }
        let proof = prove(&mut client, &packed, &Job::silent()).unwrap_err();
        assert!(matches!(proof, ProofError::NoModel(_)), "{proof}");
        let panics = client.lines().iter().any(|line| line.contains("panic"));
        assert!(!panics, "{:?}", client.lines());
    };
    check(damaged(&|flash| flash[model + last] ^= 1), "is damaged");
    check(damaged(&|flash| flash[model + 8000..].fill(0xFF)), "");
    check(damaged(&|flash| flash[model..].fill(0xFF)), "");
}

#[test]
fn a_board_with_another_model_is_no_success() {
    let job = Job::silent();
    let board = running(flash(&image(&golden_file())));
    let other = PackedModel::open(&golden_path(), &job).unwrap();
    let proof = prove(&mut client(&board), &other, &job).unwrap_err();
    assert!(matches!(proof, ProofError::OtherModel { .. }), "{proof}");
}
