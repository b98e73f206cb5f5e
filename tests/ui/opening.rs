//! Other models and projects: what is asked first, what is kept, what undo brings back.

use super::*;
use whittle::app::Popup;

/// Types a path into the Open dialog.
fn open(window: &mut Harness<'_, Studio>, path: &Path) {
    click(window, "Open…");
    window.state_mut().state.view.open_path.text = path.display().to_string();
    window.run_steps(2);
    click(window, "Open path");
    settle(window);
}

/// Another model with the same layers.
fn other_model(folder: &Path) -> PathBuf {
    let other = TinyModel {
        seed: 77,
        ..TinyModel::default()
    };
    let path = folder.join("other.gguf");
    std::fs::write(&path, other.gguf()).expect("a file");
    path
}

fn opened(window: &Harness<'_, Studio>) -> PathBuf {
    let loaded = window.state().state.loaded().expect("a model");
    loaded.spec.clone()
}

fn project(window: &Harness<'_, Studio>) -> Project {
    window.state().state.project.clone()
}

fn undo(window: &mut Harness<'_, Studio>) {
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(window);
}

fn redo(window: &mut Harness<'_, Studio>) {
    window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    settle(window);
}

#[test]
fn undo_goes_back_over_the_opening_of_another_model() {
    let (folder, mut window) = tiny_window();
    let (tiny, other) = (folder.path().join("tiny.gguf"), other_model(folder.path()));
    assert!(!window.state().state.view.can_undo, "a window begins anew");
    let first = project(&window);
    drag_to_end(&mut window, "Bits of Attention, all layers");
    settle(&mut window);
    let dragged = project(&window);
    assert_ne!(dragged, first);

    open(&mut window, &other);
    // A rule for all layers is one for any model.
    assert_eq!(window.state().state.view.popup, Popup::Closed);
    assert_eq!(opened(&window), other);
    let third = project(&window);
    assert_eq!((&third.a, &third.b), (&dragged.a, &dragged.b));
    assert!(window.state().state.view.can_undo);

    undo(&mut window);
    assert_eq!((opened(&window), project(&window)), (tiny.clone(), dragged));
    assert_eq!(running(&window, "blk.0.attn_q.weight"), "f16");
    undo(&mut window);
    assert_eq!((opened(&window), project(&window)), (tiny, first));
    redo(&mut window);
    redo(&mut window);
    assert_eq!((opened(&window), project(&window)), (other, third));
    assert!(!window.state().state.view.can_redo);
}

#[test]
fn rules_of_single_layers_go_onto_another_model_only_when_asked_to() {
    let (folder, mut window) = tiny_window();
    let (tiny, other) = (folder.path().join("tiny.gguf"), other_model(folder.path()));
    drag_to_end(&mut window, "Bits of Attention, all layers");
    drag_to_end(&mut window, "Sparsity of blk.0.attn_q");
    settle(&mut window);
    let before = project(&window);
    let sparsity = |window: &Harness<'_, Studio>| setting(window, "blk.0.attn_q.weight").sparsity;
    assert!(sparsity(&window) > 0.9);

    // Until there is an answer, and without one, the old model stays as it is.
    open(&mut window, &other);
    let asked = window.query_by_label_contains("1 rule of A");
    assert!(asked.is_some());
    window.check_accessibility();
    assert_eq!(
        (opened(&window), project(&window)),
        (tiny.clone(), before.clone())
    );
    click(&mut window, "Keep the old model");
    settle(&mut window);
    assert_eq!(
        (opened(&window), project(&window)),
        (tiny.clone(), before.clone())
    );
    open(&mut window, &other);
    window.key_press(Key::Escape);
    settle(&mut window);
    assert_eq!(
        (opened(&window), project(&window)),
        (tiny.clone(), before.clone())
    );

    open(&mut window, &other);
    click(&mut window, "Leave them behind");
    settle(&mut window);
    assert_eq!((opened(&window), sparsity(&window)), (other.clone(), 0.0));
    let kept = setting(&window, "blk.0.attn_q.weight").precision;
    assert_eq!(kept, Precision::Source, "the rule of the group stays");
    undo(&mut window);
    assert_eq!((opened(&window), project(&window)), (tiny, before.clone()));

    open(&mut window, &other);
    click(&mut window, "Take them along");
    settle(&mut window);
    assert_eq!((opened(&window), &project(&window).a), (other, &before.a));
    assert!(sparsity(&window) > 0.9);
}

#[test]
fn a_recipe_of_nothing_but_such_rules_makes_way_for_the_usual_one() {
    let (folder, mut window) = tiny_window();
    let other = other_model(folder.path());
    let recipe = &mut window.state_mut().state.project.a;
    recipe.rules.clear();
    recipe.set("blk.0.attn_q.weight=bits:2").unwrap();
    settle(&mut window);
    open(&mut window, &other);
    click(&mut window, "Leave them behind");
    settle(&mut window);
    assert_eq!(project(&window).a, Project::default().a);
}

#[test]
fn the_same_model_in_another_form_takes_all_rules_along() {
    let (folder, mut window) = tiny_window();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    let before = project(&window);
    click(&mut window, "Open…");
    click(&mut window, "Rewrite…");
    let path = folder.path().join("rotated.gguf");
    window
        .state_mut()
        .state
        .view
        .rewrite
        .rotated_path
        .set(path.clone());
    window.run_steps(2);
    click(&mut window, "Rotate");
    settle(&mut window);
    assert_eq!((opened(&window), project(&window).a), (path, before.a));
    assert_eq!(window.state().state.view.popup, Popup::Closed);
}

#[test]
fn a_project_whose_model_is_missing_asks_for_it_and_touches_nothing_else() {
    let (folder, mut window) = tiny_window();
    let other = other_model(folder.path());
    let gone = folder.path().join("gone.gguf");
    let mut saved = Project {
        model: Some(gone.clone()),
        board: "esp32-s3".into(),
        ..Project::default()
    };
    saved.a.set("blk.1.attn_q.weight=bits:2").unwrap();
    let path = folder.path().join("mine.toml");
    saved.save(&path).unwrap();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    let (before, model) = (project(&window), opened(&window));
    let built = running_tensor(&window, "blk.0.attn_q.weight");

    open(&mut window, &path);
    let state = &window.state().state;
    assert_eq!(state.view.popup, Popup::MissingModel);
    let reason = &state.view.missing.as_ref().unwrap().reason;
    assert!(reason.contains("gone.gguf"), "{reason}");
    window.check_accessibility();
    let is_untouched = |window: &Harness<'_, Studio>| {
        assert_eq!(
            (project(window), opened(window)),
            (before.clone(), model.clone())
        );
        let running = running_tensor(window, "blk.0.attn_q.weight");
        assert!(Arc::ptr_eq(&running, &built), "not compressed again");
    };
    is_untouched(&window);

    // A path that is none either asks again.
    window.state_mut().state.view.model_path.text =
        folder.path().join("no.gguf").display().to_string();
    window.run_steps(2);
    click(&mut window, "Open with this model");
    settle(&mut window);
    assert_eq!(window.state().state.view.popup, Popup::MissingModel);
    is_untouched(&window);
    click(&mut window, "Cancel");
    settle(&mut window);
    assert_eq!(window.state().state.view.popup, Popup::Closed);
    is_untouched(&window);

    open(&mut window, &path);
    window.state_mut().state.view.model_path.text = other.display().to_string();
    window.run_steps(2);
    click(&mut window, "Open with this model");
    settle(&mut window);
    // What would be lost is asked about last.
    assert_eq!(window.state().state.view.popup, Popup::Leave);
    is_untouched(&window);
    click(&mut window, "Discard changes");
    settle(&mut window);
    let expected = Project {
        model: Some(other.clone()),
        ..saved
    };
    let expected = (expected, other);
    assert_eq!((project(&window), opened(&window)), expected);
    // Nothing brings the old project back under the name of this one.
    undo(&mut window);
    assert_eq!((project(&window), opened(&window)), expected);
}

#[test]
fn an_undo_to_a_model_that_is_gone_says_so_and_changes_nothing() {
    let (folder, mut window) = tiny_window();
    let (tiny, other) = (folder.path().join("tiny.gguf"), other_model(folder.path()));
    open(&mut window, &other);
    let after = project(&window);
    std::fs::rename(&tiny, folder.path().join("moved.gguf")).unwrap();
    undo(&mut window);
    assert_eq!((opened(&window), project(&window)), (other, after));
    let notice = window.state().state.view.notices.last().expect("a notice");
    assert_eq!(notice.severity, Severity::Error);
    assert!(notice.text.contains("tiny.gguf"), "{}", notice.text);
    // Once it is back, so is the step.
    std::fs::rename(folder.path().join("moved.gguf"), &tiny).unwrap();
    assert!(window.state().state.view.can_undo);
    undo(&mut window);
    assert_eq!(opened(&window), tiny);
}

#[cfg(unix)]
#[test]
fn a_model_whose_path_is_no_text_is_opened_saved_and_opened_again() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let model = folder
        .path()
        .join(std::ffi::OsStr::from_bytes(b"k\xfcche.gguf"));
    std::fs::write(&model, TinyModel::default().gguf()).unwrap();
    let mut window = window(Start::default(), Scripted(Some(model.clone())));
    click(&mut window, "Open…");
    click(&mut window, "Browse…");
    settle(&mut window);
    assert_eq!(opened(&window), model);
    let path = folder.path().join("mine.toml");
    let mine = project(&window);
    assert_eq!(mine.model.as_ref(), Some(&model));
    mine.save(&path).unwrap();
    assert_eq!(Project::open(&path).unwrap(), mine);

    // The field shows what can be shown of it, and opens the file of these bytes.
    let other = folder
        .path()
        .join(std::ffi::OsStr::from_bytes(b"\xff.gguf"));
    std::fs::rename(&model, &other).unwrap();
    let mut window = super::window(Start::default(), Scripted(None));
    open(&mut window, &path);
    let missing = &window.state().state.view.missing;
    assert_eq!(missing.as_ref().map(|missing| &missing.spec), Some(&model));
    std::fs::rename(&other, &model).unwrap();
    click(&mut window, "Open with this model");
    settle(&mut window);
    assert_eq!(window.state().state.view.popup, Popup::Closed);
    assert_eq!(opened(&window), model);
}
