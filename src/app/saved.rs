//! Where the project is on the disk, and what it was when it was written there.

use crate::project::Project;
use std::path::PathBuf;

/// The project as it is on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its file; nothing before it has one.
    pub path: Option<PathBuf>,
    /// What is in the file, or what a new project began with; nothing where the file cannot be read.
    pub project: Option<Project>,
}

impl Saved {
    /// A project that begins like this, without a file.
    pub(super) const fn new(project: Project) -> Self {
        Self {
            path: None,
            project: Some(project),
        }
    }

    /// Whether this project has changes that its file lacks.
    #[must_use]
    pub fn is_behind(&self, project: &Project) -> bool {
        self.project.as_ref() != Some(project)
    }

    /// A model was opened: a project without a file and without changes loses nothing by that.
    pub(super) fn follow_model(&mut self, was_behind: bool, project: &Project) {
        if let (None, false, Some(saved)) = (&self.path, was_behind, &mut self.project) {
            saved.model.clone_from(&project.model);
        }
    }

    /// The name of the project, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = self.path.as_ref().and_then(|path| path.file_stem());
        stem.map_or_else(
            || "New project".to_owned(),
            |stem| stem.display().to_string(),
        )
    }

    /// The title of a window that shows this project, with a mark where its file lacks changes.
    #[must_use]
    pub fn title(&self, project: &Project) -> String {
        let mark = match self.is_behind(project) {
            true => "*",
            false => "",
        };
        format!("{}{mark} – Whittle", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_names_the_project_and_marks_what_its_file_lacks() {
        let mut project = Project::default();
        let mut saved = Saved::new(project.clone());
        assert_eq!(saved.title(&project), "New project – Whittle");
        project.model = Some("hearth".into());
        saved.follow_model(false, &project);
        assert_eq!(saved.title(&project), "New project – Whittle");
        project.a.set("*=bits:3").unwrap();
        assert_eq!(saved.title(&project), "New project* – Whittle");
        saved = Saved {
            path: Some("/home/me/kitchen.toml".into()),
            project: Some(project.clone()),
        };
        assert_eq!(saved.title(&project), "kitchen – Whittle");
        // With a file, another model is a change like others.
        project.model = Some("other".into());
        saved.follow_model(false, &project);
        assert_eq!(saved.title(&project), "kitchen* – Whittle");
    }
}
