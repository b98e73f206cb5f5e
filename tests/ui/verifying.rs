//! Both candidates side by side; limits, grids and packed files that are held against them.

use super::*;

/// A window on a tiny model that is long enough to be measured.
fn long_window() -> (TempDir, Harness<'static, Studio>) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = TinyModel {
        context: 1024,
        ..TinyModel::default()
    };
    std::fs::write(folder.path().join("tiny.gguf"), model.gguf()).expect("a file");
    let window = window_on(folder.path());
    (folder, window)
}

fn no_notice(window: &Harness<'_, Studio>) {
    let notices = &window.state().state.view.notices;
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn the_candidates_stand_side_by_side_with_the_matrices_that_differ() {
    let (_folder, mut window) = long_window();
    click(&mut window, "Evaluate");
    settle(&mut window);
    click(&mut window, "Compare…");
    window.check_accessibility();
    let state = &window.state().state;
    let [a, b] = Candidate::ALL.map(|c| state.derived.bench(c));
    let differing = a.settings.iter().zip(&b.settings).filter(|(a, b)| a != b);
    let (differing, all) = (differing.count(), a.settings.len());
    assert!(differing > 0);
    let counted = format!(
        "{differing} matrices differ, {} are stored alike; errors are squared error over squared weights",
        all - differing
    );
    let result = &a.evaluation.as_ref().unwrap().result;
    let (mean, error) = (result.kl_mean, result.kl_mean_standard_error);
    let top = format!(
        "{:.1} ± {:.1} %",
        result.same_top * 100.0,
        result.same_top_standard_error * 100.0
    );
    let kl = format!(
        "{mean:.4} ± {error:.4}, windows of {}",
        result.window_tokens
    );
    for text in [counted, kl, top] {
        assert!(window.query_by_label(&text).is_some(), "no {text}");
    }
    assert!(window.query_all_by_label("not measured").count() >= 2, "B");
    assert!(window.query_all_by_label("exact").next().is_none());
    window.key_press(Key::Escape);
    window.run_steps(2);

    // A recipe that moved on was not measured.
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    window.state_mut().state.view.popup = whittle::app::Popup::Compare;
    window.run_steps(2);
    let stale = "of an earlier recipe: evaluate again";
    assert!(window.query_all_by_label(stale).count() >= 2);
}

#[test]
fn a_candidate_is_held_against_limits_and_what_broke_is_named() {
    let (folder, mut window) = long_window();
    let limits = folder.path().join("limits.toml");
    std::fs::write(folder.path().join("text.txt"), "A lamp is on. ".repeat(100)).unwrap();
    let text = "max_bytes = 10_000_000\nmax_kl = 1e-9\nreference = 'tiny.gguf'\ntext = 'text.txt'\ntokens = 512\n\
                [[board]]\nid = 'esp32-c3'\nfits = true\n";
    std::fs::write(&limits, text).unwrap();
    click(&mut window, "Verify…");
    window.check_accessibility();
    click(&mut window, "Browse for Limits");
    settle(&mut window);
    let form = &mut window.state_mut().state.view.verify;
    assert!(
        form.limits_path.text.ends_with("out.whittle"),
        "as was answered"
    );
    form.limits_path.text = limits.display().to_string();
    window.run_steps(2);
    click(&mut window, "Check");
    settle(&mut window);
    no_notice(&window);
    let checked = window.state().state.view.verify.checked.clone().unwrap();
    let found: Vec<_> = checked
        .findings
        .iter()
        .map(|f| (f.name(), f.held))
        .collect();
    let expected = [
        ("max_bytes".to_owned(), true),
        ("max_kl".to_owned(), false),
        ("fits of esp32-c3".to_owned(), true),
    ];
    assert_eq!(found, expected);
    let said = format!("A, {}: 1 limit broke", checked.recipe);
    assert!(window.query_by_label(&said).is_some(), "no {said}");
    window.check_accessibility();

    std::fs::write(&limits, "max_size = 3").unwrap();
    click(&mut window, "Check");
    settle(&mut window);
    let notice = window.state().state.view.notices.last().unwrap();
    assert!(
        notice.text.contains("unknown field `max_size`"),
        "{notice:?}"
    );
}

#[test]
fn a_grid_is_swept_into_a_table_beside_it_and_not_computed_twice() {
    let (folder, mut window) = tiny_window();
    let grid = folder.path().join("grid.toml");
    let text = "model = 'tiny.gguf'\nrecipe = 'balanced-4bit'\n\
                [[axis]]\ntensors = 'feed-forward.*'\nbits = [2, 3]\n";
    std::fs::write(&grid, text).unwrap();
    click(&mut window, "Verify…");
    window.state_mut().state.view.verify.grid_path.text = grid.display().to_string();
    window.run_steps(2);
    for from_before in [0, 2] {
        click(&mut window, "Sweep");
        settle(&mut window);
        no_notice(&window);
        let said = format!("2 points, {from_before} of them from before");
        assert!(window.query_by_label_contains(&said).is_some(), "{said}");
        for row in ["2", "3"] {
            let title = format!("feed-forward.*=bits:{row},sparsity:0");
            assert!(window.query_by_label(&title).is_some(), "no {title}");
        }
    }
    let table = std::fs::read_to_string(folder.path().join("grid.csv")).unwrap();
    assert_eq!(table.lines().count(), 3);

    // Recipes that weigh errors are calibrated for.
    std::fs::write(&grid, format!("{text}method = ['gptq']\n")).unwrap();
    click(&mut window, "Sweep");
    settle(&mut window);
    no_notice(&window);
    let said = "2 points, 0 of them from before";
    assert!(window.query_by_label_contains(said).is_some());
    assert!(folder.path().join("calibrations").is_dir());
}

#[test]
fn a_packed_file_is_made_again_and_a_changed_one_is_not_the_same() {
    let (folder, mut window) = tiny_window();
    let packed = folder.path().join("a.whittle");
    click(&mut window, "Export…");
    window
        .state_mut()
        .state
        .view
        .export_path
        .set(packed.clone());
    window.run_steps(2);
    click(&mut window, "Export to path");
    settle(&mut window);
    window.state_mut().state.view.notices.clear();
    click(&mut window, "Verify…");
    window.state_mut().state.view.verify.packed_path.text = packed.display().to_string();
    window.run_steps(2);
    click(&mut window, "Reproduce");
    settle(&mut window);
    no_notice(&window);
    let bytes = std::fs::metadata(&packed).unwrap().len();
    let said = format!("same bytes: all {bytes}");
    assert!(window.query_by_label_contains(&said).is_some(), "{said}");

    // A model with other weights.
    let other = TinyModel {
        seed: 77,
        ..TinyModel::default()
    };
    let path = folder.path().join("other.gguf");
    std::fs::write(&path, other.gguf()).unwrap();
    let mut window = open_spec(&path);
    click(&mut window, "Verify…");
    window.state_mut().state.view.verify.packed_path.text = packed.display().to_string();
    window.run_steps(2);
    click(&mut window, "Reproduce");
    settle(&mut window);
    let notice = window.state().state.view.notices.last().unwrap();
    assert!(
        notice.text.starts_with("expected the model that"),
        "{notice:?}"
    );
}
