//! What is written, opened and flashed.

use super::*;

#[test]
fn an_exported_model_opens_and_has_the_size_that_the_meter_said() {
    let (folder, mut window) = tiny_window();
    click(&mut window, "Export…");
    window.check_accessibility();
    click(&mut window, "Browse for Export path");
    settle(&mut window);
    click(&mut window, "Export to path");
    settle(&mut window);
    let path = folder.path().join("out.whittle");
    let packed = PackedModel::open(&path, &Job::silent()).unwrap();
    assert_eq!(packed.shape().layers, 2);
    let (said, is) = (total(&window), packed.bytes().len() as u64);
    assert!(
        said.abs_diff(is) <= 4096,
        "the meter said {said}, the file has {is}"
    );
    let notices = &window.state().state.view.notices;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].severity, Severity::Info);
}

#[test]
fn an_exported_gguf_file_is_a_model_with_the_same_shape() {
    let (folder, mut window) = tiny_window();
    click(&mut window, "Export…");
    click(&mut window, "Browse for GGUF path");
    settle(&mut window);
    click(&mut window, "Export GGUF to path");
    settle(&mut window);
    let model = Model::load(&folder.path().join("out.whittle"), &Job::silent()).unwrap();
    assert_eq!(model.hyperparameters.layers, 2);
    assert_eq!(
        window.state().state.view.notices[0].severity,
        Severity::Info
    );
}

#[test]
fn a_software_bill_goes_beside_an_exported_file_where_it_is_asked_for() {
    let (folder, mut window) = tiny_window();
    let bill = folder.path().join("out.whittle.cdx.json");
    click(&mut window, "Export…");
    click(&mut window, "Browse for Export path");
    settle(&mut window);
    click(&mut window, "Export to path");
    settle(&mut window);
    assert!(!bill.exists());
    click(&mut window, "Export…");
    click(&mut window, "With a software bill beside the file");
    click(&mut window, "Export to path");
    settle(&mut window);
    click(&mut window, "Replace");
    settle(&mut window);
    let bill = std::fs::read_to_string(bill).unwrap();
    let packed = std::fs::read(folder.path().join("out.whittle")).unwrap();
    assert!(
        bill.contains(&whittle::packed::sha256_hex(&packed)),
        "{bill}"
    );
}

#[test]
fn a_project_is_saved_and_opened_again() {
    let (folder, mut window) = tiny_window();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    click(&mut window, "Export…");
    let path = folder.path().join("mine.toml");
    window.state_mut().state.view.project_path.set(path.clone());
    window.run_steps(2);
    click(&mut window, "Save to path");
    settle(&mut window);
    let saved = Project::parse("mine", &std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved, window.state().state.project);
    let again = open_spec(&path);
    assert_eq!(again.state().state.project, saved);
    assert_eq!(running(&again, "blk.0.attn_q.weight"), "f16");
}

#[test]
fn a_broken_path_is_a_notice_that_can_be_dismissed() {
    let mut window = open_spec(Path::new("no/such/model.gguf"));
    let view = &window.state().state.view;
    assert_eq!(view.notices.len(), 1);
    assert_eq!(view.notices[0].severity, Severity::Error);
    let text = &view.notices[0].text;
    assert!(text.contains("no/such/model.gguf"), "{text}");
    assert!(window.query_by_label(&text.clone()).is_some());
    click(&mut window, "Dismiss");
    assert!(window.state().state.view.notices.is_empty());
    // The window lives on: what could be opened is offered.
    assert!(
        window
            .query_by_label("Open a language model to begin")
            .is_some()
    );
}

#[test]
fn a_dialog_that_is_not_there_is_said_and_nothing_is_lost() {
    let mut window = open_spec(Path::new("no/such/model.gguf"));
    click(&mut window, "Browse…");
    settle(&mut window);
    let last = window.state().state.view.notices.last().unwrap();
    assert!(last.text.contains("type the path"), "{}", last.text);
}

#[cfg(all(unix, feature = "flash"))]
#[test]
fn a_board_is_flashed_and_answers_with_the_bits_that_are_heard() {
    let (_folder, mut window) = tiny_window();
    let project = &mut window.state_mut().state.project;
    project.board = "esp32-c3".into();
    click(&mut window, "Flash…");
    settle(&mut window);
    window.state_mut().state.view.port = "fake".into();
    window.run_steps(2);
    // What comes along says how its engine compares with this one.
    let prebuilt = window.query_by_label_contains("A firmware that gives this program's answers");
    assert!(prebuilt.is_some());
    window.check_accessibility();
    click(&mut window, "Flash the board");
    settle(&mut window);
    let view = &window.state().state.view;
    let deployed = view
        .flashed
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", view.notices));
    assert!(deployed.flashed.verified_bytes > 50_000, "{deployed:?}");
    let proof = deployed
        .proof
        .as_ref()
        .unwrap_or_else(|| panic!("{deployed:?}"));
    let shown = format!("The board answers as here: logits {}", proof.self_test);
    assert!(window.query_by_label(&shown).is_some());
}

#[cfg(all(unix, feature = "flash"))]
#[test]
fn a_board_that_does_not_answer_is_no_success() {
    let (folder, mut window) = tiny_window();
    let elf = folder.path().join("firmware.elf");
    // A program without a console.
    std::fs::write(&elf, firmware::firmware(4096)).unwrap();
    let project = &mut window.state_mut().state.project;
    project.board = "esp32-c3".into();
    project.firmware = Some(elf);
    click(&mut window, "Flash…");
    window.state_mut().state.view.port = "fake".into();
    window.run_steps(2);
    click(&mut window, "Flash the board");
    settle(&mut window);
    let view = &window.state().state.view;
    let deployed = view
        .flashed
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", view.notices));
    assert!(deployed.proof.is_none() && deployed.flashed.verified_bytes > 50_000);
    let said = window.query_by_label_contains("Not known to run: the board on ");
    assert!(said.is_some());
    let notice = &view.notices.last().unwrap().text;
    assert!(
        notice.contains("written and verified; but the board on "),
        "{notice}"
    );
}
