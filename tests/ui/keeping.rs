//! Work that is kept: saving, closing, replacing, restoring.

use super::*;
use eframe::App as _;
use eframe::egui::{ViewportCommand, ViewportEvent, ViewportId};
use std::fs;
use whittle::app::{KeepUnsaved, Popup};
use whittle::project::autosave;

/// A window on the tiny model that keeps what is unsaved in `folder`, and whose dialogs give `path`.
fn keeping(folder: &Path, path: Option<PathBuf>) -> Harness<'static, Studio> {
    let model = folder.join("tiny.gguf");
    if !model.exists() {
        fs::write(&model, TinyModel::default().gguf()).expect("a folder of its own");
    }
    let start = Start {
        model: Some(model),
        calibrations: Some(folder.join("calibrations")),
        unsaved: KeepUnsaved::In(folder.join("unsaved")),
        ..Start::default()
    };
    window(start, Scripted(path))
}

fn title(window: &Harness<'_, Studio>) -> String {
    let state = &window.state().state;
    state.saved.title(&state.project)
}

fn popup(window: &Harness<'_, Studio>) -> Popup {
    window.state().state.view.popup
}

/// Asks the window to close, as the person does; returns whether it does.
fn close(window: &mut Harness<'_, Studio>) -> bool {
    let root = window.input_mut().viewports.entry(ViewportId::ROOT);
    root.or_default().events.push(ViewportEvent::Close);
    window.step();
    let stays = commands(window).contains(&ViewportCommand::CancelClose);
    let root = window.input_mut().viewports.entry(ViewportId::ROOT);
    root.or_default().events.clear();
    window.run_steps(2);
    !stays
}

fn commands(window: &Harness<'_, Studio>) -> Vec<ViewportCommand> {
    let root = window.output().viewport_output.get(&ViewportId::ROOT);
    root.map_or_else(Vec::new, |root| root.commands.clone())
}

/// Clicks, and draws until the window closes, or nothing happens any more.
fn closes_by(window: &mut Harness<'_, Studio>, label: &str) -> bool {
    window.get_by_label(label).click();
    let (start, mut idle) = (Instant::now(), 0);
    while idle < 6 {
        window.step();
        if commands(window).contains(&ViewportCommand::Close) {
            return true;
        }
        match window.state().state.jobs.is_empty() {
            true => idle += 1,
            false => idle = 0,
        }
        assert!(start.elapsed() < LIMIT, "neither closes nor stays");
    }
    false
}

/// What is written of unsaved changes, beside their projects in `folder` or in its `unsaved`.
fn copies(folder: &Path) -> Vec<PathBuf> {
    let folders = [folder.to_owned(), folder.join("unsaved")];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let is_copy = |path: &PathBuf| match path.extension() {
        Some(kind) => {
            kind == "autosave"
                || kind == "toml"
                    && path
                        .parent()
                        .is_some_and(|folder| folder.ends_with("unsaved"))
        }
        None => false,
    };
    paths.filter(is_copy).collect()
}

/// Draws until the unsaved changes of this moment are on the disk, in none of the files of `before`.
fn autosaved(window: &mut Harness<'_, Studio>, folder: &Path, before: &[PathBuf]) {
    let project = window.state().state.project.to_toml();
    let is_there = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text == project);
    let start = Instant::now();
    while !copies(folder)
        .iter()
        .any(|path| !before.contains(path) && is_there(path))
    {
        assert!(start.elapsed() < LIMIT, "nothing is written");
        window.step();
        std::thread::yield_now();
    }
}

/// Ends a window as `kill -9` does: nothing of it runs any more, nothing is tidied up.
fn kill(window: Harness<'_, Studio>, folder: &Path) {
    drop(window);
    // A process takes its threads along. Here the last order is still carried out, and holds its lock as long.
    let records = fs::read_dir(folder.join("unsaved")).expect("a folder");
    let paths = records.map(|entry| entry.expect("a record").path());
    let start = Instant::now();
    for record in paths.filter(|path| path.extension().is_some_and(|kind| kind == "record")) {
        let is_held = || fs::File::open(&record).is_ok_and(|file| file.try_lock().is_err());
        while is_held() {
            assert!(start.elapsed() < LIMIT, "its thread goes on");
            std::thread::yield_now();
        }
    }
}

#[test]
fn ctrl_s_asks_for_a_path_once_and_the_title_says_what_is_unsaved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let mut window = keeping(folder.path(), Some(path.clone()));
    assert_eq!(title(&window), "New project – Whittle");
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    assert_eq!(title(&window), "New project* – Whittle");
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    window.run_steps(2);
    assert_eq!(popup(&window), Popup::Save);
    window.check_accessibility();
    let proposed = window.state().state.view.project_path.path();
    assert!(proposed.is_absolute(), "{}", proposed.display());
    click(&mut window, "Browse for Project path");
    settle(&mut window);
    click(&mut window, "Save to path");
    settle(&mut window);
    assert_eq!(
        (popup(&window), title(&window)),
        (Popup::Closed, "mine – Whittle".into())
    );
    assert_eq!(Project::open(&path).unwrap(), window.state().state.project);

    // From now on it is known where.
    drag_to_end(&mut window, "Bits of blk.0.attn_k");
    settle(&mut window);
    assert_eq!(title(&window), "mine* – Whittle");
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    settle(&mut window);
    assert_eq!(
        (popup(&window), title(&window)),
        (Popup::Closed, "mine – Whittle".into())
    );
    assert_eq!(Project::open(&path).unwrap(), window.state().state.project);
    // An undo is a change like others, and its redo is none.
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(&mut window);
    assert_eq!(title(&window), "mine* – Whittle");
    window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    settle(&mut window);
    assert_eq!(title(&window), "mine – Whittle");
}

#[test]
fn a_window_with_unsaved_changes_asks_before_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let mut window = keeping(folder.path(), Some(path.clone()));
    assert!(close(&mut window), "nothing is lost");
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    assert!(!close(&mut window));
    assert_eq!(popup(&window), Popup::Leave);
    window.check_accessibility();
    click(&mut window, "Cancel");
    assert_eq!(popup(&window), Popup::Closed);
    // Escape is Cancel too.
    assert!(!close(&mut window));
    window.key_press(Key::Escape);
    window.run_steps(2);
    assert_eq!(popup(&window), Popup::Closed);

    // Without a file, saving asks for one, and then the window closes.
    assert!(!close(&mut window));
    click(&mut window, "Save and close");
    assert_eq!(popup(&window), Popup::Save);
    click(&mut window, "Browse for Project path");
    settle(&mut window);
    assert!(closes_by(&mut window, "Save to path"));
    assert!(close(&mut window));
    assert_eq!(Project::open(&path).unwrap(), window.state().state.project);
}

#[test]
fn changes_that_nobody_wants_are_neither_saved_nor_offered_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = keeping(folder.path(), None);
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    autosaved(&mut window, folder.path(), &[]);
    assert!(!close(&mut window));
    assert!(closes_by(&mut window, "Discard changes"));
    assert!(close(&mut window));
    window.state_mut().on_exit(None);
    drop(window);
    assert!(
        autosave::left(&folder.path().join("unsaved"))
            .left
            .is_empty()
    );
    let window = keeping(folder.path(), None);
    assert_eq!(popup(&window), Popup::Closed);
}

#[cfg(all(unix, feature = "flash"))]
#[test]
fn a_window_that_writes_a_board_asks_before_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let elf = folder.path().join("firmware.elf");
    fs::write(&elf, firmware::firmware(4096)).unwrap();
    let mut window = keeping(folder.path(), None);
    let studio = window.state_mut();
    studio.state.project.board = "esp32-c3".into();
    studio.state.project.firmware = Some(elf);
    studio.state.view.port = "fake".into();
    // What is in the file is what is open: the board alone is the reason.
    studio.state.saved.project = Some(studio.state.project.clone());
    click(&mut window, "Flash…");
    window.get_by_label("Flash the board").click();
    window.step();
    window.step();
    assert!(!close(&mut window), "the board is being written");
    let losses = window.state().state.would_lose();
    assert!(
        losses.len() == 1 && losses[0].contains("Flash"),
        "{losses:?}"
    );
    assert!(window.query_by_label("Stop and close").is_some());
    click(&mut window, "Cancel");
    settle(&mut window);
    assert!(window.state().state.view.flashed.is_some());
    assert!(close(&mut window));
}

#[test]
fn a_file_is_replaced_only_when_the_person_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.gguf");
    fs::write(&path, "precious").unwrap();
    let mut window = keeping(folder.path(), Some(path.clone()));
    click(&mut window, "Export…");
    click(&mut window, "Browse for GGUF path");
    settle(&mut window);
    click(&mut window, "Export GGUF to path");
    settle(&mut window);
    assert_eq!(popup(&window), Popup::Replace);
    window.check_accessibility();
    let found = &window.state().state.view.replacing.as_ref().unwrap().found;
    let expected = format!("{} exists: 8 B", path.display());
    assert!(found.starts_with(&expected), "{found}");
    click(&mut window, "Cancel");
    assert_eq!(popup(&window), Popup::Export, "back to where it was asked");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    click(&mut window, "Export GGUF to path");
    click(&mut window, "Replace");
    settle(&mut window);
    assert_eq!(popup(&window), Popup::Closed);
    assert_eq!(
        Model::load(&path, &Job::silent())
            .unwrap()
            .hyperparameters
            .layers,
        2
    );

    // Every other way to write a file asks too.
    for (field, verb) in [
        ("Export path", "Export"),
        ("Report path", "Report"),
        ("Project path", "Save"),
    ] {
        click(&mut window, "Export…");
        click(&mut window, &format!("Browse for {field}"));
        settle(&mut window);
        click(&mut window, &format!("{verb} to path"));
        assert_eq!(popup(&window), Popup::Replace, "{verb}");
        click(&mut window, "Cancel");
        window.key_press(Key::Escape);
        window.run_steps(2);
    }
}

#[test]
fn a_project_that_another_program_changed_is_not_overwritten_without_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let mut window = keeping(folder.path(), Some(path.clone()));
    click(&mut window, "Save");
    click(&mut window, "Browse for Project path");
    settle(&mut window);
    click(&mut window, "Save to path");
    settle(&mut window);
    let theirs = Project {
        system: "theirs".into(),
        ..Project::open(&path).unwrap()
    };
    theirs.save(&path).unwrap();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    click(&mut window, "Save");
    assert_eq!(popup(&window), Popup::Replace);
    click(&mut window, "Cancel");
    assert_eq!(Project::open(&path).unwrap(), theirs);
}

#[test]
fn names_follow_the_model_and_its_recipe_from_the_root_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = keeping(folder.path(), None);
    let name = |window: &mut Harness<'_, Studio>| {
        click(window, "Export…");
        let path = window.state().state.view.export_path.path();
        window.key_press(Key::Escape);
        window.run_steps(2);
        assert!(path.is_absolute());
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(name(&mut window), "tiny-balanced-4bit.whittle");
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    assert_eq!(name(&mut window), "tiny-balanced-4bit-edited.whittle");
    window.key_press(Key::X);
    window.run_steps(2);
    assert_eq!(name(&mut window), "tiny-original.whittle");
}

#[test]
fn another_project_is_opened_only_when_it_is_known_what_becomes_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = keeping(folder.path(), None);
    let mut other = window.state().state.project.clone();
    other.system = "other".into();
    let path = folder.path().join("other.toml");
    other.save(&path).unwrap();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    let mine = window.state().state.project.clone();
    let open = |window: &mut Harness<'_, Studio>| {
        click(window, "Open…");
        window.state_mut().state.view.open_path.text = path.display().to_string();
        window.run_steps(2);
        click(window, "Open path");
        settle(window);
    };
    open(&mut window);
    assert_eq!(popup(&window), Popup::Leave);
    click(&mut window, "Cancel");
    assert_eq!(window.state().state.project, mine);
    open(&mut window);
    click(&mut window, "Discard changes");
    settle(&mut window);
    assert_eq!(window.state().state.project, other);
    assert_eq!(title(&window), "other – Whittle");
    // An undo would bring one project under the name of another.
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(&mut window);
    assert_eq!(window.state().state.project, other);
}

#[test]
fn after_a_kill_the_same_recipe_is_restored_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = keeping(folder.path(), None);
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    drag_to_end(&mut window, "Sparsity of Attention, all layers");
    settle(&mut window);
    let was = window.state().state.project.clone();
    autosaved(&mut window, folder.path(), &[]);
    kill(window, folder.path());

    // Whoever only looks takes nothing.
    let mut window = keeping(folder.path(), None);
    assert_eq!(popup(&window), Popup::Restore);
    window.check_accessibility();
    click(&mut window, "Later");
    assert_eq!(popup(&window), Popup::Closed);
    drop(window);
    let before = copies(folder.path());
    let mut window = keeping(folder.path(), None);
    click(&mut window, "Restore");
    settle(&mut window);
    let now = &window.state().state.project;
    assert_eq!(now.a.to_toml(), was.a.to_toml());
    assert_eq!(*now, was);
    assert_eq!(title(&window), "New project* – Whittle");
    assert_eq!(running(&window, "blk.0.attn_q.weight"), "f16");
    // It is kept anew before the old copy goes, so that a second kill loses nothing.
    autosaved(&mut window, folder.path(), &before);
    kill(window, folder.path());
    let mut window = keeping(folder.path(), None);
    assert_eq!(window.state().state.view.left.len(), 1);
    click(&mut window, "Restore");
    settle(&mut window);
    assert_eq!(window.state().state.project, was);
}

#[test]
fn what_a_dying_window_holds_is_offered_once_it_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let mut dying = keeping(folder.path(), None);
    drag_to_end(&mut dying, "Bits of blk.0.attn_q");
    settle(&mut dying);
    let was = dying.state().state.project.clone();
    autosaved(&mut dying, folder.path(), &[]);
    let mut window = keeping(folder.path(), None);
    assert_eq!(popup(&window), Popup::Closed, "another window has it");
    kill(dying, folder.path());
    let start = Instant::now();
    while popup(&window) != Popup::Restore {
        assert!(start.elapsed() < LIMIT, "not offered");
        window.step();
    }
    window.run_steps(2);
    click(&mut window, "Restore");
    settle(&mut window);
    assert_eq!(window.state().state.project, was);
}

#[test]
fn a_named_project_is_restored_under_its_name_with_its_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let mut window = keeping(folder.path(), Some(path.clone()));
    click(&mut window, "Save");
    click(&mut window, "Browse for Project path");
    settle(&mut window);
    click(&mut window, "Save to path");
    settle(&mut window);
    let saved = fs::read(&path).unwrap();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    let was = window.state().state.project.clone();
    autosaved(&mut window, folder.path(), &[]);
    assert_eq!(fs::read(&path).unwrap(), saved, "only beside it");
    kill(window, folder.path());
    let mut window = keeping(folder.path(), None);
    click(&mut window, "Restore");
    settle(&mut window);
    assert_eq!(window.state().state.project, was);
    assert_eq!(title(&window), "mine* – Whittle");
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    settle(&mut window);
    assert_eq!(Project::open(&path).unwrap(), was);
    window.state_mut().on_exit(None);
    drop(window);
    assert!(
        autosave::left(&folder.path().join("unsaved"))
            .left
            .is_empty()
    );
    let names = fs::read_dir(folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.ends_with(".autosave")));
}

#[test]
fn where_nothing_can_be_kept_one_sentence_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // A file in the way of the folder stops root too.
    fs::write(folder.path().join("unsaved"), "").unwrap();
    let mut window = keeping(folder.path(), None);
    assert!(window.state().state.view.notices.is_empty());
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    let start = Instant::now();
    while window.state().state.view.notices.is_empty() {
        assert!(start.elapsed() < LIMIT, "not said");
        window.step();
    }
    let notices = &window.state().state.view.notices;
    assert!(
        notices[0].text.starts_with("unsaved changes are not kept"),
        "{notices:?}"
    );
    assert_eq!(notices.len(), 1);
}

#[test]
fn an_account_without_a_home_is_told_that_nothing_is_kept() {
    let start = Start {
        unsaved: KeepUnsaved::NoHome,
        ..Start::default()
    };
    let window = window(start, Scripted(None));
    let notices = &window.state().state.view.notices;
    let text = "unsaved changes are not kept: this account has no home folder";
    assert!(
        notices.iter().any(|notice| notice.text == text),
        "{notices:?}"
    );
}
