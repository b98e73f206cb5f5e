//! Settings tensor by tensor, written as few rules.

use crate::recipe::{Recipe, Rule, Setting, role_name};
use engine::shape::Role;

/// A recipe that asks just these settings: for each role its most frequent one, then the exceptions, a
/// rule for each run of layers.
pub(super) fn compact(name: String, settings: &[(Role, Option<u32>, Setting)]) -> Recipe {
    let mut rules = Vec::new();
    for role in Role::ALL {
        let Some(pattern) = role_name(role) else {
            continue;
        };
        let mut of_role: Vec<(Option<u32>, Setting)> = settings
            .iter()
            .filter(|(r, ..)| *r == role)
            .map(|(_, layer, setting)| (*layer, *setting))
            .collect();
        of_role.sort_by_key(|(layer, _)| *layer);
        let count = |setting: &Setting| of_role.iter().filter(|(_, s)| s == setting).count();
        // Of equals the first.
        let Some((_, usual)) = of_role.iter().rev().max_by_key(|(_, s)| count(s)).copied() else {
            continue;
        };
        let rule = |tensors: String, setting: Setting| {
            let tensors = tensors.parse().expect("a pattern of a role and layers");
            Rule::new(tensors, setting)
        };
        rules.push(rule(pattern.clone(), usual));
        let runs = of_role.chunk_by(|a, b| a.1 == b.1);
        for run in runs.filter(|run| run[0].1 != usual) {
            if let (Some((Some(first), setting)), Some((Some(last), _))) = (run.first(), run.last())
            {
                let layers = format!("{first}..{}", last + 1);
                rules.push(rule(format!("{pattern}@{layers}"), *setting));
            }
        }
    }
    Recipe {
        name,
        description: String::new(),
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Precision;

    #[test]
    fn a_recipe_asks_just_what_was_chosen_in_few_rules() {
        let bits = Setting::bits;
        let mut settings = vec![(Role::Embedding, None, bits(Precision::Six))];
        for layer in 0..12u32 {
            let precision = match layer {
                0 | 11 => Precision::Eight,
                3..6 => Precision::Three,
                _ => Precision::Four,
            };
            settings.push((Role::Down, Some(layer), bits(precision)));
            settings.push((Role::Query, Some(layer), bits(Precision::Two)));
        }
        let recipe = compact("tuned".into(), &settings);
        for (role, layer, setting) in settings {
            assert_eq!(
                recipe.setting(role, layer, 12),
                setting,
                "{role:?} {layer:?}"
            );
        }
        assert_eq!(recipe.rules.len(), 3 + 3);
        assert_eq!(Recipe::parse("again", &recipe.to_toml()).unwrap(), recipe);
    }
}
