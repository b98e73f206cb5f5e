//! A board that measures itself, and estimates that rest on what it says.

use super::{flash, image, model, packed_by, question};
use whittle::board::Board;
use whittle::estimate::{Options, SCALED_ERROR, Validation, estimate_file};
use whittle::job::Job;
use whittle::link::{
    Client, FakeBoard, MeasureError, ProofError, Reset, TurnEstimate, measure, verify,
};
use whittle::measured::{BoardReport, Clock, Reports, WorkName};
use whittle::packed::{PackedModel, WeightSource as _};
use whittle::recipe::Recipe;

/// As the window and the board pages have it: 8-bit keys and values, and the prefix in flash.
fn hearth() -> PackedModel {
    packed_by(&model(), &Recipe::open("balanced-4bit").unwrap())
}

const LONG: &str = "set the living room lights to 40 percent";

/// What the emulated board reports of a model.
fn report(packed: &PackedModel, prompt: &str) -> BoardReport {
    let board = FakeBoard::holding(flash(&image(packed.bytes()))).unwrap();
    let mut client = Client::open(board.port(), Reset::None).unwrap();
    let report = measure(&mut client, packed, prompt, &Job::silent()).unwrap();
    BoardReport {
        // What a device says of itself, and a bare port cannot.
        clock: Clock::Emulated,
        ..report
    }
}

/// As if a chip had sent it: the emulated one's cycles are instructions, and they scale as a chip's would.
fn as_measured(mut report: BoardReport) -> BoardReport {
    report.clock = Clock::Board;
    report
}

fn c3(report: BoardReport) -> Board {
    let mut reports = Reports::default();
    reports.put(report);
    Board::find("esp32-c3").unwrap().clone().reported(&reports)
}

/// Seconds of a token by the estimate and by a report: each model's own, at the positions of the report.
fn estimated(board: &Board, packed: &PackedModel, measured: &BoardReport) -> (f64, f64) {
    let options = Options {
        context_tokens: (2.0 * measured.mean_position()).round() as u32,
        cache: packed.cache(),
        ..Options::default()
    };
    let estimate = estimate_file(packed, "", board, &options);
    assert_eq!(estimate.validation, Validation::Measured);
    let rate = estimate.tokens_per_second.unwrap();
    assert!(
        rate.source
            .starts_with("measured on esp32c3 revision 0.3 at 160 MHz with hearth"),
        "{}",
        rate.source
    );
    (1.0 / rate.mid, 1.0 / measured.tokens_per_second())
}

/// The road to its end: what the board measured stands in the estimate.
#[test]
fn a_board_measures_itself_and_the_estimate_rests_on_it() {
    let packed = hearth();
    let first = report(&packed, "turn on the kitchen light");
    assert_eq!(
        (first.chip.as_str(), first.clock),
        ("esp32c3", Clock::Emulated)
    );
    assert_eq!(first.clock_hz, 160_000_000);
    assert!(first.is_verified);
    // Every block has its three kinds of work, and all of them are the whole.
    let layers = first.model.layers;
    for layer in 0..layers {
        for work in [
            WorkName::Products,
            WorkName::Attention,
            WorkName::Elementwise,
        ] {
            let mut all = first.costs.iter();
            assert!(all.any(|cost| (cost.layer, cost.work) == (Some(layer), work)));
        }
    }
    assert_eq!(first.costs.len() as u32, 3 * layers + 2);
    let sum: f64 = first.costs.iter().map(|cost| cost.secs).sum();
    assert!((sum / first.decode_secs - 1.0).abs() < 0.01, "{sum}");
    // Its memories are both there; the stack was used and did not run over.
    let names: Vec<&str> = first.memories.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["model", "conversation"]);
    let stack = first.stack.unwrap();
    assert!(
        stack.used_bytes > 4_000 && stack.used_bytes < stack.bytes,
        "{stack:?}"
    );
    // The file that anyone can send is read as it was.
    let again = BoardReport::parse(&first.to_json(), "r.json").unwrap();
    assert_eq!(again, first);
    verify(&again, &packed, "r.json").unwrap();

    // Counted instructions are a floor, and the estimate says what they are.
    let board = c3(first.clone());
    let options = Options {
        context_tokens: (2.0 * first.mean_position()).round() as u32,
        cache: packed.cache(),
        ..Options::default()
    };
    let estimate = estimate_file(&packed, "", &board, &options);
    assert_eq!(estimate.validation, Validation::Emulated);
    let rate = estimate.tokens_per_second.unwrap();
    assert!(rate.high >= first.tokens_per_second() && rate.low < first.tokens_per_second());
    // A chip's own times replace it, for this turn to the percent.
    let board = c3(as_measured(first.clone()));
    let (predicted, measured) = estimated(&board, &packed, &first);
    assert!(
        (predicted / measured - 1.0).abs() < 0.02,
        "{predicted} {measured}"
    );
}

/// Reports of one recipe predict the times of others, which a board then measures.
#[test]
fn what_one_recipe_took_predicts_what_another_takes() {
    let source = model();
    let recipes = ["*=bits:8", "*=bits:2", "*=bits:4,sparsity:0.5"];
    let all: Vec<(PackedModel, BoardReport)> = recipes
        .iter()
        .map(|recipe| {
            let mut own = Recipe::original();
            own.set(recipe).unwrap();
            let packed = packed_by(&source, &own);
            let report = report(&packed, "turn on the kitchen light");
            (packed, report)
        })
        .collect();
    let mut worst = 0.0_f64;
    for (_, from) in &all {
        let board = c3(as_measured(from.clone()));
        for (packed, measured) in &all {
            let (predicted, took) = estimated(&board, packed, measured);
            let off = predicted / took - 1.0;
            println!(
                "{:?} predicts {:?}: {predicted:.4} s, took {took:.4} s, off by {off:.3}",
                from.model.matrices[0].encoding, measured.model.matrices[0].encoding
            );
            worst = worst.max(off.abs());
        }
    }
    assert!(worst < SCALED_ERROR, "off by {worst:.3}");
    // The bound is what was seen, and not one that anything would meet.
    assert!(worst > SCALED_ERROR / 3.0, "off by {worst:.3} only");
}

#[test]
fn a_turn_of_a_board_stands_beside_its_estimate() {
    let packed = hearth();
    let board = FakeBoard::holding(flash(&image(packed.bytes()))).unwrap();
    let mut client = Client::open(board.port(), Reset::None).unwrap();
    let job = Job::silent();
    let mut show = |_: &str| std::ops::ControlFlow::Continue(());
    let question = question(LONG);
    let turn = whittle::link::ask_board(&mut client, &question, &job, &mut show).unwrap();
    let turn = turn.beside((&packed, Board::presets()), &question, &job);
    let turn = turn.unwrap();
    let estimated: TurnEstimate = turn.estimated.unwrap();
    assert_eq!(estimated.board, "esp32-c3");
    let first = estimated.first_token_secs.unwrap();
    let measured = turn.answer.first_token_secs.unwrap();
    // Only what was computed is estimated: the prefix lies in flash.
    assert!(
        first.low <= measured && measured <= first.high,
        "{measured} in {first:?}"
    );
    let rate = estimated.tokens_per_second.unwrap();
    let measured = turn.answer.decode_tokens_per_second.unwrap();
    assert!(
        rate.low <= measured && measured <= rate.high,
        "{measured} in {rate:?}"
    );
}

#[test]
fn a_report_of_something_else_is_refused() {
    let packed = hearth();
    let report = report(&packed, "turn on the kitchen light");
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        change(&mut value);
        BoardReport::parse(&value.to_string(), "r.json")
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let check = |change: &dyn Fn(&mut serde_json::Value), expected: &str| {
        let said = refused(change);
        assert!(said.contains(expected), "{said}");
    };
    check(
        &|r| r["firmware"]["answers"] = "0123456789abcdef".into(),
        "gives other answers",
    );
    check(
        &|r| r["decode_secs"] = 1000.into(),
        "costs must add up to decode_secs",
    );
    check(
        &|r| r["costs"][0]["secs"] = (-1).into(),
        "costs.secs must be above 0",
    );
    check(&|r| r["tokens"] = 0.into(), "tokens must be at least 1");
    check(&|r| r["format"] = 2.into(), "a newer Whittle wrote it");
    check(
        &|r| r["model"]["matrices"][0]["encoding"] = "dense7".into(),
        "encodings",
    );
    check(&|r| r["clock_hz"] = 0.into(), "clock_hz is out of range");
    check(&|r| r["more"] = 0.into(), "is not a report of a board");
    check(
        &|r| r["position"] = 4_294_967_290_u32.into(),
        "position and tokens must stay below",
    );
    check(&|r| r["clock_hz"] = 1.into(), "weights a cycle or fewer");
    check(
        &|r| r["memories"][0]["secs"] = 1e-9.into(),
        "bytes a cycle or fewer",
    );
    // A hash that is not this program's, and a model that is not this one.
    let mut wrong = report.clone();
    wrong.logits_hash = "0000000000000bad".into();
    let said = verify(&wrong, &packed, "r.json").unwrap_err().to_string();
    assert!(said.contains("the board computes something else"), "{said}");
    let mut other = report.clone();
    other.model.crc = "00000000".into();
    let said = verify(&other, &packed, "r.json").unwrap_err().to_string();
    assert!(
        said.contains("it is of a model with checksum 00000000"),
        "{said}"
    );
    // What was compared with nothing feeds nothing.
    let mut reports = Reports::default();
    reports.add(BoardReport {
        is_verified: false,
        ..report.clone()
    });
    assert_eq!(reports.of("esp32c3"), None);
    // A measured one is not replaced by an emulated one, a newer one replaces an older one.
    reports.add(as_measured(report.clone()));
    reports.add(report.clone());
    assert_eq!(reports.of("esp32c3").unwrap().clock, Clock::Board);
    let mut newer = as_measured(report);
    newer.day = "2999-01-01".into();
    reports.add(newer);
    assert_eq!(reports.of("esp32c3").unwrap().day, "2999-01-01");
}

#[test]
fn another_model_or_none_is_not_measured() {
    let job = Job::silent();
    let packed = hearth();
    let board = FakeBoard::holding(flash(&image(&super::golden_file()))).unwrap();
    let mut client = Client::open(board.port(), Reset::None).unwrap();
    let refused = measure(&mut client, &packed, LONG, &job).unwrap_err();
    assert!(
        matches!(
            refused,
            MeasureError::Unproven(ProofError::OtherModel { .. })
        ),
        "{refused}"
    );
}
