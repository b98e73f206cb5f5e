//! Evaluations and tasks.

use super::*;
use eframe::egui::OutputCommand;

#[test]
fn an_evaluation_belongs_to_its_recipe() {
    // Longer than a window of the evaluation.
    let model = TinyModel {
        context: 1024,
        ..TinyModel::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, model.gguf()).unwrap();
    let mut window = open_spec(&path);
    click(&mut window, "Evaluate");
    settle(&mut window);
    let state = &window.state().state;
    assert!(state.view.notices.is_empty(), "{:?}", state.view.notices);
    let evaluated = state.derived.bench(Candidate::A).evaluation.as_ref();
    let evaluated = evaluated.unwrap();
    assert_eq!(evaluated.recipe, state.project.a);
    assert!(evaluated.result.kl_mean > 0.0 && evaluated.result.kl_mean_standard_error > 0.0);
    let label = format!(
        "KL {:.4} ± {:.4}",
        evaluated.result.kl_mean, evaluated.result.kl_mean_standard_error
    );
    assert!(window.query_by_label(&label).is_some(), "no {label}");
    assert!(
        evaluated
            .basis
            .reference_precision
            .ends_with("bits a weight")
    );

    // What was measured is in the page on it.
    let page = folder.path().join("page.html");
    click(&mut window, "Export…");
    window.state_mut().state.view.report_path.set(page.clone());
    window.run_steps(2);
    window.check_accessibility();
    click(&mut window, "Report to path");
    settle(&mut window);
    window.get_by_label("Open page").click();
    window.step();
    let opened = window.output().platform_output.commands.iter();
    let opened = opened.filter_map(|command| match command {
        OutputCommand::OpenUrl(open) => Some(open.url.clone()),
        _ => None,
    });
    let address = format!("file://{}", page.display());
    assert_eq!(opened.collect::<Vec<_>>(), [address]);
    let page = std::fs::read_to_string(page).unwrap();
    let mean = window
        .state()
        .state
        .derived
        .bench(Candidate::A)
        .evaluation
        .as_ref();
    let mean = format!("{:.5}", mean.unwrap().result.kl_mean);
    for text in [
        mean.as_str(),
        "evaluation.txt of Whittle",
        "esp32-c3",
        "<svg",
    ] {
        assert!(page.contains(text), "no {text} in the page");
    }
}

#[test]
fn tasks_are_asked_in_the_background_and_belong_to_their_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("tiny.gguf");
    std::fs::write(&model, TinyModel::default().gguf()).unwrap();
    let tasks = folder.path().join("two.jsonl");
    let lines = "{\"prompt\": \"hello\", \"pattern\": \".\"}\n{\"prompt\": \"hello\", \"intent\": \"Chat\"}\n";
    std::fs::write(&tasks, lines).unwrap();
    let start = Start {
        model: Some(model.clone()),
        ..Start::default()
    };
    let mut window = window(start, Scripted(Some(tasks.clone())));
    assert!(window.query_by_label("tasks 50.0 % of 2").is_none());
    click(&mut window, "Tasks…");
    window.check_accessibility();
    click(&mut window, "Tasks from a file…");
    settle(&mut window);
    let state = &window.state().state;
    assert!(state.view.notices.is_empty(), "{:?}", state.view.notices);
    let tasked = state.derived.bench(Candidate::A).tasks.as_ref().unwrap();
    assert_eq!(tasked.set, tasks.display().to_string());
    assert_eq!(tasked.recipe, state.project.a);
    assert_eq!(
        (tasked.report.held.held, tasked.report.groups.len()),
        (1, 2)
    );
    assert!(window.query_by_label("tasks not asked").is_some(), "B");
    window.get_by_label("tasks 50.0 % of 2").hover();
    window.run_steps(60);
    let stale = "of an earlier recipe or KV precision: ask again";
    assert!(window.query_by_label_contains("right intent").is_some());
    assert!(window.query_by_label(stale).is_none());

    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    window.get_by_label("tasks 50.0 % of 2").hover();
    window.run_steps(60);
    assert!(window.query_by_label(stale).is_some());

    std::fs::write(&tasks, "{}").unwrap();
    click(&mut window, "Tasks…");
    click(&mut window, "Tasks from a file…");
    settle(&mut window);
    let notice = window.state().state.view.notices.last().unwrap();
    assert!(
        notice.text.contains("line 1: missing field `prompt`"),
        "{notice:?}"
    );
}
