//! How much of a serial line a flash uses: the fake board takes ten bits a byte at the line rate, as a wire does.

#[path = "../support/firmware.rs"]
mod firmware;

use std::ops::ControlFlow;
use std::time::Instant;
use whittle::board::Board;
use whittle::job::Job;
use whittle::link::fake_board::Fault;
use whittle::link::{FakeBoard, FlashOptions, FlashPlan, Image, Reset, flash};

/// Bytes that do not compress.
const NOISE_BYTES: usize = 512 * 1024;
const BAUD: f64 = 921_600.0;
/// Of the line rate; what `link::FlashPlan` promises.
const LEAST_SHARE: f64 = 0.85;

#[test]
fn what_does_not_compress_fills_85_percent_of_the_line() {
    let mut state = 88_172_645_463_325_252_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(NOISE_BYTES)
    .collect();
    let c3 = Board::find("esp32-c3").unwrap();
    let image = Image::new(c3, &firmware::firmware(8_000), &noise).unwrap();
    let options = FlashOptions {
        reset: Reset::None,
        ..FlashOptions::default()
    };
    // The best of three: another program on this machine takes time from both sides.
    let shares = (0..3).map(|_| {
        let board = FakeBoard::start(&[Fault::Paced]).unwrap();
        let (mut begun, mut plan) = (Instant::now(), None);
        let mut show = |planned: &FlashPlan| {
            (begun, plan) = (Instant::now(), Some(planned.clone()));
            ControlFlow::Continue(())
        };
        flash(board.port(), &image, &options, &mut show, &Job::silent()).unwrap();
        let (took, plan) = (begun.elapsed().as_secs_f64(), plan.unwrap());
        let share = plan.sent_bytes as f64 * 10.0 / took / BAUD;
        println!(
            "{} bytes in {took:.2} s: {share:.3} of the line",
            plan.sent_bytes
        );
        // What was said before it began held.
        assert!(
            took <= plan.secs.1 || share < LEAST_SHARE,
            "{took} in {:?}",
            plan.secs
        );
        share
    });
    let best = shares.fold(0.0, f64::max);
    assert!(best >= LEAST_SHARE, "{best:.3} of the line");
}
