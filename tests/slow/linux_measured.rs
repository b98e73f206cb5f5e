//! A board that runs Linux says what it is and measures itself: its estimates rest on that.

use crate::linux::{COMMAND, Running, emulator, exported, hearth};
use crate::required::required;
use engine::sampler::Sampling;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use whittle::board::Board;
use whittle::estimate::{Options, Validation, estimate_file};
use whittle::job::Job;
use whittle::link::{BoardQuestion, Client, MeasureError, Reset, ask_board, measure};
use whittle::measured::Reports;
use whittle::packed::WeightSource as _;

const BOARD: &str = "raspberry-pi-zero-2w";
const LINE: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// What Linux says of a Raspberry Pi Zero 2 W.
fn machine(root: &Path) {
    let clock = root.join("sys/devices/system/cpu/cpufreq/policy0");
    let tree = root.join("proc/device-tree");
    fs::create_dir_all(&clock).unwrap();
    fs::create_dir_all(&tree).unwrap();
    fs::write(clock.join("cpuinfo_max_freq"), "1000000\n").unwrap();
    let names = "raspberrypi,model-zero-2-w\0brcm,bcm2837\0";
    fs::write(tree.join("compatible"), names).unwrap();
}

#[test]
fn a_board_reports_its_times_and_they_stand_beside_its_estimate() {
    let Some(()) = required(emulator()) else {
        return;
    };
    let packed = hearth();
    let folder = tempfile::tempdir().unwrap();
    let (root, job) = (folder.path().join("root"), Job::silent());
    machine(&root);
    let program = exported(folder.path(), &packed);
    let running = Running::start_on(&root, &program, packed.bytes(), &LINE);
    let mut client = Client::open(&running.port(), Reset::None).unwrap();
    let report = measure(&mut client, &packed, COMMAND, &job).unwrap();
    assert_eq!(report.chip, "bcm2837");
    assert_eq!(report.clock_hz, 1_000_000_000);
    assert!(report.is_verified);

    let mut reports = Reports::default();
    let rate = f64::from(report.tokens) / report.decode_secs;
    reports.put(report);
    let board = Board::find(BOARD).unwrap().clone().reported(&reports);
    let options = Options {
        cache: packed.cache(),
        ..Options::default()
    };
    let estimate = estimate_file(&packed, "", &board, &options);
    assert_eq!(estimate.validation, Validation::Measured);
    let estimated = estimate.tokens_per_second.unwrap();
    assert!(
        (estimated.mid / rate - 1.0).abs() < 0.5,
        "{estimated:?}, measured {rate}"
    );

    let question = BoardQuestion {
        prompt: COMMAND,
        max_tokens: 4,
        context: 0,
        sampling: Sampling::GREEDY,
    };
    let mut show = |_: &str| ControlFlow::Continue(());
    let turn = ask_board(&mut client, &question, &job, &mut show).unwrap();
    let turn = turn.beside((&packed, &[board]), &question, &job).unwrap();
    assert_eq!(turn.same_here, Some(true));
    assert_eq!(turn.estimated.unwrap().board, BOARD);
}

#[test]
fn a_board_whose_clock_linux_does_not_tell_answers_and_reports_nothing() {
    let Some(()) = required(emulator()) else {
        return;
    };
    let packed = hearth();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    machine(&root);
    let clock = root.join("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq");
    fs::write(clock, "unknown\n").unwrap();
    let program = exported(folder.path(), &packed);
    let running = Running::start_on(&root, &program, packed.bytes(), &LINE);
    let mut client = Client::open(&running.port(), Reset::None).unwrap();
    let measured = measure(&mut client, &packed, COMMAND, &Job::silent());
    assert!(
        matches!(measured, Err(MeasureError::NoClock { .. })),
        "{measured:?}"
    );
}
