//! The open model in another form.

use super::*;

fn vocab(window: &Harness<'_, Studio>) -> u32 {
    let loaded = window.state().state.loaded().expect("a model");
    loaded.model.hyperparameters.vocab
}

fn said(window: &Harness<'_, Studio>) -> String {
    let notice = window.state().state.view.notices.last().expect("a notice");
    format!("{:?}: {}", notice.severity, notice.text)
}

/// Opens the dialog, the way a person finds it.
fn open_dialog(window: &mut Harness<'_, Studio>) {
    click(window, "Open…");
    window.check_accessibility();
    click(window, "Rewrite…");
    window.check_accessibility();
}

#[test]
fn a_trimmed_model_is_written_and_opened_with_its_figures() {
    let (folder, mut window) = tiny_window();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "the light in the other room is on ".repeat(9)).unwrap();
    open_dialog(&mut window);
    let form = &mut window.state_mut().state.view.rewrite;
    assert!(form.trimmed_path.path().is_absolute());
    assert!(form.trimmed_path.text.ends_with("tiny-trimmed.gguf"));
    form.text_path.text = text.display().to_string();
    form.tokens = 288;
    click(&mut window, "Browse for Trimmed model");
    settle(&mut window);
    let path = folder.path().join("out.gguf");
    let form = &mut window.state_mut().state.view.rewrite;
    assert!(
        form.trimmed_path.text.ends_with("out.whittle"),
        "as the file dialog said"
    );
    form.trimmed_path.set(path.clone());
    window.run_steps(2);
    click(&mut window, "Trim vocabulary");
    settle(&mut window);
    assert_eq!(vocab(&window), 288);
    let said = said(&window);
    assert!(
        said.starts_with("Info") && said.contains("288 of 300 tokens"),
        "{said}"
    );
    assert!(said.contains("bits a byte"), "{said}");
    let opened = window.state().state.project.model.clone();
    assert_eq!(opened.as_ref(), Some(&path));
    assert!(Model::load(&path, &Job::silent()).is_ok());
}

#[test]
fn a_rotated_model_is_written_and_opened() {
    let (folder, mut window) = tiny_window();
    open_dialog(&mut window);
    click(&mut window, "Residual stream");
    let path = folder.path().join("out.gguf");
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
    let said = said(&window);
    assert!(
        said.starts_with("Info") && said.contains("matrices in another basis"),
        "{said}"
    );
    let opened = window.state().state.project.model.clone();
    assert_eq!(opened, Some(path));
}

#[test]
fn a_text_that_is_not_there_is_said_and_the_model_stays() {
    let (folder, mut window) = tiny_window();
    open_dialog(&mut window);
    let missing = folder.path().join("no.txt").display().to_string();
    window.state_mut().state.view.rewrite.text_path.text = missing.clone();
    window.run_steps(2);
    click(&mut window, "Trim vocabulary");
    settle(&mut window);
    let said = said(&window);
    assert!(
        said.starts_with("Error") && said.contains(&missing),
        "{said}"
    );
    assert_eq!(vocab(&window), 300);
}
