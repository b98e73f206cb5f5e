//! A conversation with a running model: token by token, ended, interrupted, cancelled, gone on with.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/tiny_model.rs"]
mod tiny_model;

use engine::arena::CachePrecision;
use engine::sampler::Sampling;
use engine::workers::Host;
use std::ops::ControlFlow;
use tiny_model::TinyModel;
use whittle::compress::compress;
use whittle::job::{CancelToken, Job, Progress};
use whittle::model::{Model, Specials};
use whittle::packed::{Answer, Conversation, PackedModel, Question, StopReason};
use whittle::recipe::Recipe;

const CONTEXT: usize = 1024;
const QUESTION: Question<'_> = Question {
    system: None,
    user: "turn on the light",
    max_tokens: 24,
    sampling: Sampling::GREEDY,
    stop: &[],
};

fn tiny() -> TinyModel {
    TinyModel {
        context: CONTEXT as u32,
        ..TinyModel::default()
    }
}

fn model(tiny: &TinyModel) -> Model {
    Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap()
}

fn packed(tiny: &TinyModel) -> PackedModel {
    let model = model(tiny);
    let compressed = compress(&model, &Recipe::original(), &Job::silent()).unwrap();
    PackedModel::pack(&model, &compressed, &Job::silent()).unwrap()
}

fn ask(conversation: &mut Conversation, source: &PackedModel, question: &Question<'_>) -> Answer {
    let mut shown = String::new();
    let answer = conversation
        .ask(source, &Host::serial(), question, &mut |text| {
            shown += text;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(shown, answer.text, "all text is shown, and no other");
    answer
}

/// Tokens and texts of an answer, and how far each text reaches.
fn pieces(source: &PackedModel, question: &Question<'_>) -> Vec<(u32, String, usize)> {
    let (host, job) = (Host::serial(), Job::silent());
    let mut conversation = Conversation::new(source, CONTEXT);
    let generation = conversation.generate(source, &host, question, &job);
    let mut end = 0;
    generation
        .unwrap()
        .map(|piece| {
            let piece = piece.unwrap();
            end += piece.text.len();
            (piece.token, piece.text, end)
        })
        .collect()
}

/// A token of [`QUESTION`]'s answer, not among the first, before which all text is shown, and whose
/// own text and the next token's first come there.
fn border(source: &PackedModel) -> (usize, String, String) {
    let pieces = pieces(source, &QUESTION);
    let text: String = pieces.iter().map(|(_, text, _)| text.as_str()).collect();
    let fits = |n: &usize| {
        let (here, next) = (&pieces[*n].1, &pieces[*n + 1].1);
        let both = here.clone() + next;
        let is_whole = !both.contains(char::REPLACEMENT_CHARACTER);
        let (start, is_text) = (pieces[*n - 1].2, !here.is_empty() && !next.is_empty());
        is_whole && is_text && text.find(&both) == Some(start)
    };
    let n = (2..pieces.len() - 1).find(fits).unwrap();
    let stop = pieces[n].1.clone() + &pieces[n + 1].1;
    (n, text[..pieces[n - 1].2].to_owned(), stop)
}

/// Asks a second question of a conversation, and of one whose first answer had `count` tokens.
fn goes_on_as_after(conversation: &mut Conversation, source: &PackedModel, count: usize) {
    let mut expected = Conversation::new(source, CONTEXT);
    let short = Question {
        max_tokens: count,
        ..QUESTION
    };
    ask(&mut expected, source, &short);
    let next = Question {
        user: "and off again",
        ..QUESTION
    };
    let (found, wanted) = (
        ask(conversation, source, &next),
        ask(&mut expected, source, &next),
    );
    assert_eq!(conversation.position(), expected.position());
    assert_eq!(
        (found.tokens, found.logits_hash),
        (wanted.tokens, wanted.logits_hash)
    );
}

#[test]
fn tokens_come_one_by_one_and_are_those_of_the_answer() {
    let source = packed(&tiny());
    let answer = ask(&mut Conversation::new(&source, CONTEXT), &source, &QUESTION);
    let pieces = pieces(&source, &QUESTION);
    let tokens: Vec<u32> = pieces.iter().map(|(token, _, _)| *token).collect();
    assert_eq!(tokens[..answer.tokens.len()], answer.tokens);
    let text: String = pieces.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(text, answer.text);
    assert_eq!(answer.stop, StopReason::MaxTokens);
    assert_eq!(answer.decode_steps, 23);
}

#[test]
fn a_claimed_context_is_cut_to_what_memory_holds() {
    // 16 kB a token.
    let wide = TinyModel {
        heads: 16,
        kv_heads: 16,
        head_dim: 128,
        context: 1 << 20,
        ..TinyModel::default()
    };
    let source = packed(&wide);
    let mut conversation = Conversation::new(&source, usize::MAX);
    assert!(conversation.has_room(1 << 16));
    assert!(!conversation.has_room(1 << 17));
    let answer = ask(&mut conversation, &source, &QUESTION);
    assert_eq!(answer.tokens.len(), 24);
}

#[test]
fn another_precision_of_keys_and_values_forgets_nothing() {
    let source = packed(&tiny());
    let mut conversation = Conversation::new(&source, CONTEXT);
    let first = ask(&mut conversation, &source, &QUESTION);
    let position = conversation.position();
    let mut coarse = conversation.at_cache(&source, CachePrecision::Four);
    assert_eq!(coarse.position(), position);
    let mut expected = Conversation::with_cache(&source, CONTEXT, CachePrecision::Four);
    expected = expected.at_cache(&source, CachePrecision::Sixteen);
    assert_eq!(
        ask(&mut expected, &source, &QUESTION).logits_hash,
        first.logits_hash
    );
    expected = expected.at_cache(&source, CachePrecision::Four);
    let (found, wanted) = (
        ask(&mut coarse, &source, &QUESTION),
        ask(&mut expected, &source, &QUESTION),
    );
    assert_eq!(found.logits_hash, wanted.logits_hash);
    assert_ne!(found.logits_hash, first.logits_hash);
}

#[test]
fn a_stop_string_over_two_tokens_ends_the_answer_and_is_forgotten() {
    let source = packed(&tiny());
    let (n, before, stop) = border(&source);
    let mut conversation = Conversation::new(&source, CONTEXT);
    let stops = ["never said".to_owned(), stop];
    let stopped = Question {
        stop: &stops,
        ..QUESTION
    };
    let answer = ask(&mut conversation, &source, &stopped);
    assert_eq!(answer.stop, StopReason::StopString);
    assert_eq!(answer.text, before);
    assert_eq!(answer.tokens.len(), n + 2);
    goes_on_as_after(&mut conversation, &source, n);
}

#[test]
fn of_a_token_that_a_stop_string_cuts_the_first_part_is_remembered() {
    let source = packed(&tiny());
    // The likeliest tokens of a random model have one byte each.
    let varied = Question {
        sampling: Sampling {
            temperature: 2.0,
            ..Sampling::GREEDY
        },
        ..QUESTION
    };
    let pieces = pieces(&source, &varied);
    let text: String = pieces.iter().map(|(_, text, _)| text.as_str()).collect();
    // A token of several letters is cut after the first.
    let tail = |(_, word, end): &(u32, String, usize)| {
        let is_word = word.len() > 1 && word.is_ascii();
        let tail = word.get(1..).filter(|_| is_word)?.to_owned();
        (text.find(&tail) == Some(end - tail.len())).then_some((tail, *end))
    };
    let (tail, end) = pieces.iter().find_map(tail).unwrap();
    let before = &text[..end - tail.len()];
    let stops = [tail];
    let stopped = Question {
        stop: &stops,
        ..varied
    };
    let mut conversation = Conversation::new(&source, CONTEXT);
    let answer = ask(&mut conversation, &source, &stopped);
    assert_eq!(answer.stop, StopReason::StopString);
    assert_eq!(answer.text, before);
    let position = conversation.position();
    let next = Question {
        user: "",
        max_tokens: 0,
        ..QUESTION
    };
    let close = {
        let mut other = Conversation::new(&source, CONTEXT);
        ask(
            &mut other,
            &source,
            &Question {
                max_tokens: 1,
                ..QUESTION
            },
        );
        let before = other.position();
        ask(&mut other, &source, &next);
        other.position() - before
    };
    ask(&mut conversation, &source, &next);
    // The letter has a token of its own, in place of the longer one.
    assert_eq!(conversation.position(), position + close);
}

#[test]
fn whoever_asks_no_more_has_cancelled_within_one_token() {
    let source = packed(&tiny());
    let (n, before, _) = border(&source);
    let (host, job) = (Host::serial(), Job::silent());
    let mut conversation = Conversation::new(&source, CONTEXT);
    let generation = conversation.generate(&source, &host, &QUESTION, &job);
    let shown: String = generation
        .unwrap()
        .take(n)
        .map(|piece| piece.unwrap().text)
        .collect();
    assert_eq!(shown, before);
    goes_on_as_after(&mut conversation, &source, n);
}

#[test]
fn a_cancelled_job_ends_the_answer_before_its_next_token() {
    let source = packed(&tiny());
    let (n, before, _) = border(&source);
    let cancel = CancelToken::new();
    let (host, job) = (Host::serial(), Job::new(&|_| {}, cancel.clone()));
    let mut conversation = Conversation::new(&source, CONTEXT);
    let mut generation = conversation
        .generate(&source, &host, &QUESTION, &job)
        .unwrap();
    for _ in 0..n {
        generation.next().unwrap().unwrap();
    }
    cancel.cancel();
    assert!(generation.next().is_none());
    let answer = generation.finish();
    assert_eq!(answer.stop, StopReason::Interrupted);
    assert_eq!((answer.tokens.len(), answer.text), (n, before));
    goes_on_as_after(&mut conversation, &source, n);
}

#[test]
fn a_long_prompt_is_cancelled_within_one_batch_and_leaves_no_trace() {
    let source = packed(&tiny());
    let long = "the light in the kitchen and ".repeat(30);
    let question = Question {
        user: &long,
        ..QUESTION
    };
    let mut conversation = Conversation::new(&source, CONTEXT);
    ask(&mut conversation, &source, &QUESTION);
    let before = conversation.position();

    let cancel = CancelToken::new();
    let theirs = cancel.clone();
    let at_third = move |progress: Progress<'_>| {
        if progress.done >= 128 {
            theirs.cancel();
        }
    };
    let (host, job) = (Host::serial(), Job::new(&at_third, cancel));
    let mut generation = conversation
        .generate(&source, &host, &question, &job)
        .unwrap();
    assert!(generation.next().is_none());
    let answer = generation.finish();
    assert_eq!(
        (answer.stop, answer.prompt_tokens),
        (StopReason::Interrupted, 128)
    );
    assert_eq!((answer.tokens.len(), conversation.position()), (0, before));
    goes_on_as_after(&mut conversation, &source, QUESTION.max_tokens);
}

#[test]
fn a_seed_fixes_the_answer_and_a_penalty_sees_prompt_and_answer() {
    let source = packed(&tiny());
    let said = |sampling: Sampling| {
        let question = Question {
            sampling,
            ..QUESTION
        };
        ask(&mut Conversation::new(&source, CONTEXT), &source, &question)
    };
    let seeded = |seed| Sampling {
        temperature: 0.9,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.02,
        repetition_penalty: 1.1,
        seed,
        ..Sampling::GREEDY
    };
    let (one, again, other) = (said(seeded(1)), said(seeded(1)), said(seeded(2)));
    assert_eq!(
        (&one.tokens, one.logits_hash),
        (&again.tokens, again.logits_hash)
    );
    assert_ne!(one.tokens, other.tokens);

    let penalized = said(Sampling {
        repetition_penalty: 1e6,
        repetition_window: 1024,
        ..Sampling::GREEDY
    });
    let mut seen = model(&tiny())
        .tokenizer
        .encode(QUESTION.user, Specials::Plain)
        .unwrap();
    for token in &penalized.tokens {
        assert!(!seen.contains(token), "{token} again");
        seen.push(*token);
    }
}

#[test]
fn a_question_that_cannot_be_asked_changes_nothing() {
    let source = packed(&tiny());
    let mut conversation = Conversation::new(&source, CONTEXT);
    let empty = [String::new()];
    let long = "word ".repeat(2000);
    let hot = Sampling {
        temperature: f32::NAN,
        ..Sampling::GREEDY
    };
    let mut check = |question: Question<'_>, expected: &str| {
        let mut quiet = |_: &str| ControlFlow::Continue(());
        let error = conversation
            .ask(&source, &Host::serial(), &question, &mut quiet)
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(conversation.position(), 0);
    };
    check(
        Question {
            sampling: hot,
            ..QUESTION
        },
        "temperature is out of range",
    );
    check(
        Question {
            stop: &empty,
            ..QUESTION
        },
        "a stop string is empty",
    );
    check(
        Question {
            user: &long,
            ..QUESTION
        },
        "the context has 1024",
    );
    // What fits is answered until the context is full.
    let mut small = Conversation::new(&source, 48);
    let endless = Question {
        max_tokens: 1000,
        ..QUESTION
    };
    let answer = ask(&mut small, &source, &endless);
    assert_eq!(answer.stop, StopReason::ContextFull);
    assert_eq!(answer.prompt_tokens + answer.tokens.len(), 48 + 1);
    assert!(!small.has_room(1));
}
