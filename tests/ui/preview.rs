//! What a recipe will cost, while it is being changed.

use super::*;
use whittle::app::{JobKind, Measure, Predicted, better_text};
use whittle::recipe::Quantizer;
use whittle::tune::Evidence;

/// What the window predicts of a row, and what kind of figure it is.
fn predicted(window: &Harness<'_, Studio>, title: &str) -> (Predicted, Measure) {
    let state = &window.state().state;
    let rows = &state.loaded().expect("a model").rows;
    let place = rows.iter().position(|row| row.title == title);
    let preview = state.derived.bench(Candidate::A).preview.as_ref();
    let preview = preview.expect("a preview");
    let row = preview.rows[place.expect(title)];
    (row.expect("a row with matrices"), preview.measure)
}

/// Takes a slider and moves it to this share of its length, in one frame.
fn pull(window: &mut Harness<'_, Studio>, label: &str, share: f32) {
    let rect = window.get_by_role_and_label(Role::Slider, label).rect();
    window.drag_at(rect.center());
    window.step();
    let x = rect.left() + share * rect.width();
    window.hover_at(pos2(x, rect.center().y));
    window.step();
}

fn release(window: &mut Harness<'_, Studio>, label: &str, share: f32) {
    let rect = window.get_by_role_and_label(Role::Slider, label).rect();
    window.drop_at(pos2(rect.left() + share * rect.width(), rect.center().y));
    settle(window);
}

#[test]
fn a_moving_slider_shows_the_expected_error_in_the_same_frame() {
    let (_folder, mut window) = tiny_window();
    let row = "blk.0.attn_q";
    let (before, measure) = predicted(&window, row);
    assert_eq!(measure, Measure::WeightError);
    assert_eq!(
        before.evidence,
        Evidence::Measured,
        "it runs in this setting"
    );

    let slider = "Sparsity of blk.0.attn_q";
    pull(&mut window, slider, 0.7);
    let sparsity = setting(&window, "blk.0.attn_q.weight").sparsity;
    assert!(sparsity > 0.3, "{sparsity}");
    let (during, measure) = predicted(&window, row);
    assert!(during.value > before.value, "{during:?}");
    let text = during.text(measure);
    assert!(text.starts_with("err "), "labelled as what it is: {text}");
    assert!(window.query_all_by_label(&text).next().is_some(), "{text}");

    release(&mut window, slider, 0.7);
    let (after, _) = predicted(&window, row);
    assert_eq!(after.evidence, Evidence::Measured);
    // The rule of thumb is one: right to a factor.
    assert!((0.2..5.0).contains(&(after.value / during.value)));

    // A weight that is pruned by a stored order is pruned as it is without one.
    pull(&mut window, slider, 0.8);
    release(&mut window, slider, 0.8);
    let running = running_tensor(&window, "blk.0.attn_q.weight");
    let loaded = window.state().state.loaded().expect("a model").clone();
    let source = loaded.model.tensor(running.role, running.layer);
    let source = source.expect("the tensor");
    let alone =
        whittle::compress::compress_tensor(&loaded.model, source, running.setting, None).unwrap();
    assert_eq!(running.bytes, alone.bytes);
    assert!((running.nmse - alone.nmse).abs() < 1e-9);
}

#[test]
fn after_a_tune_every_slider_says_its_divergence_and_what_beats_it() {
    let (_folder, mut window) = tiny_window();
    window.state_mut().state.view.tune.exchanges = 0;
    click(&mut window, "Tune…");
    click(&mut window, "Start tune");
    settle(&mut window);
    window.key_press(Key::Escape);
    window.run_steps(2);
    let row = "blk.0.attn_q";
    let (tuned, measure) = predicted(&window, row);
    assert_eq!(measure, Measure::Divergence);
    assert_eq!(tuned.evidence, Evidence::Measured);

    let slider = "Sparsity of blk.0.attn_q";
    pull(&mut window, slider, 0.6);
    let (during, measure) = predicted(&window, row);
    assert!(during.value > tuned.value, "{during:?} after {tuned:?}");
    assert_eq!(during.evidence, Evidence::Interpolated);
    let text = during.text(measure);
    assert!(window.query_all_by_label(&text).next().is_some(), "{text}");
    release(&mut window, slider, 0.6);

    // Four bits of which some are pruned by magnitude lose to fewer bits that are calibrated.
    let state = &mut window.state_mut().state;
    let loaded = state.loaded().expect("a model").clone();
    let matrix = loaded
        .matrices
        .iter()
        .position(|m| m.name == "blk.0.attn_q.weight");
    let matrix = matrix.expect("the matrix");
    let of = &loaded.matrices[matrix];
    let mut marked = None;
    for sparsity in [0.25, 0.5, 0.75, 0.9] {
        let setting = Setting::sparse(Precision::Eight, sparsity);
        let recipe = &mut window.state_mut().state.project.a;
        recipe.except(of.role, of.layer, setting);
        settle(&mut window);
        let bench = window.state().state.derived.bench(Candidate::A);
        marked = bench.preview.as_ref().expect("a preview").better[matrix];
        if marked.is_some() {
            break;
        }
    }
    let better = marked.expect("a setting that is beaten");
    let text = better_text(&better);
    assert!(
        text.contains(" beats it: ") && text.contains(" less, error "),
        "{text}"
    );
    assert!(better.candidate.error < better.error);
    let before = total(&window);
    click(&mut window, &text);
    settle(&mut window);
    let taken = setting(&window, "blk.0.attn_q.weight");
    assert_eq!(taken, better.candidate.setting);
    assert!(total(&window) <= before);
    assert!(window.query_by_label(&text).is_none());
    // What it takes is what runs: calibrated, where it asks that.
    let running = running_tensor(&window, "blk.0.attn_q.weight");
    assert_eq!(running.setting, taken);
    if taken.method == Quantizer::Gptq {
        assert!(running.output_error.is_some());
    }
}

/// Of hearth the KL after a drag came never: its context is shorter than a window was.
#[test]
fn a_slider_that_rests_is_measured_on_a_window_within_the_context() {
    for (context, tokens) in [(256, 256), (1024, 512)] {
        rests(context, tokens);
    }
}

fn rests(context: u32, tokens: usize) {
    let model = TinyModel {
        context,
        ..TinyModel::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tiny.gguf"), model.gguf()).expect("a file");
    let mut window = window_on(folder.path());
    let quick = |window: &Harness<'_, Studio>| {
        let bench = window.state().state.derived.bench(Candidate::A);
        bench.quick.clone()
    };
    assert_eq!(quick(&window), None, "nothing is measured unasked");
    pull(&mut window, "Bits of blk.0.attn_q", 0.0);
    window.run_steps(3);
    let jobs = &window.state().state.jobs;
    assert!(!jobs.is_running(JobKind::Quick), "it still moves");
    release(&mut window, "Bits of blk.0.attn_q", 0.0);
    let found = quick(&window).expect("a measurement");
    assert_eq!(found.recipe, window.state().state.project.a);
    assert!(found.mean > 0.0);
    assert_eq!(found.tokens, tokens, "the window of a context of {context}");
    let label = format!("KL {:.4} quick", found.mean);
    assert!(window.query_by_label(&label).is_some(), "{label}");
}
