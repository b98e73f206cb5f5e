//! Which tensors a rule means: `attention.*`, `feed-forward.down@0..4`, `blk.3.attn_q.weight`.

use super::RecipeError;
use crate::warning::IdleWhy;
use engine::shape::Role;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A set of tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pattern {
    /// As it was written.
    text: String,
    roles: Vec<Role>,
    layers: Layers,
}

/// A range of layers; negative numbers count from the last layer, as in `-2..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// All layers, and the tensors that stand alone.
    All,
    /// From the first to before the second; `None` is the end.
    Range(i32, Option<i32>),
}

impl Layers {
    fn contains(self, layer: Option<u32>, layers: u32) -> bool {
        let resolve = |n: i32| {
            if n < 0 {
                i64::from(n) + i64::from(layers)
            } else {
                i64::from(n)
            }
        };
        match (self, layer) {
            (Self::All, _) => true,
            (Self::Range(..), None) => false,
            (Self::Range(from, to), Some(layer)) => {
                let layer = i64::from(layer);
                layer >= resolve(from) && to.is_none_or(|to| layer < resolve(to))
            }
        }
    }
}

/// The name of a matrix in recipes, `embedding` or `attention.q`; `None` for what no recipe names.
#[must_use]
pub fn role_name(role: Role) -> Option<String> {
    let part = role.part()?.name();
    Some(match role.projection() {
        Some(projection) => format!("{part}.{projection}"),
        None => part.to_owned(),
    })
}

/// The matrices that a name stands for: all, those of a part, or one; none for an unknown name.
fn named_roles(name: &str) -> Vec<Role> {
    let part = name.strip_suffix(".*").unwrap_or(name);
    let is_meant = |role: &Role| match role.part() {
        None => false,
        Some(of_role) => {
            name == "*"
                || role_name(*role).as_deref() == Some(name)
                || role.projection().is_some() && of_role.name() == part
        }
    };
    Role::ALL.into_iter().filter(is_meant).collect()
}

impl Pattern {
    /// The pattern of exactly one tensor.
    #[must_use]
    pub fn one(role: Role, layer: Option<u32>) -> Self {
        let name = role.gguf_name();
        let text = layer.map_or_else(|| name.to_owned(), |layer| format!("blk.{layer}.{name}"));
        let layers = layer.map_or(Layers::All, single);
        Self {
            text,
            roles: vec![role],
            layers,
        }
    }

    /// Whether it means tensors of one layer by its number, as a slider of a single matrix and a tune write.
    #[must_use]
    pub fn is_of_one_layer(&self) -> bool {
        match self.layers {
            Layers::All | Layers::Range(_, None) => false,
            Layers::Range(from, Some(to)) => to == from + 1,
        }
    }

    /// Whether it means the tensor with this role and layer in a model of `layers` layers.
    #[must_use]
    pub fn matches(&self, role: Role, layer: Option<u32>, layers: u32) -> bool {
        self.roles.contains(&role) && self.layers.contains(layer, layers)
    }
}

impl Pattern {
    /// Why it matches no tensor, if it is one that matches none.
    pub(super) fn why_idle(&self) -> IdleWhy {
        let are_all = |what: fn(&Role) -> bool| self.roles.iter().all(what);
        match self.layers {
            Layers::All if are_all(|role| *role == Role::Output) => IdleWhy::TiedHead,
            Layers::Range(..) if are_all(|role| !role.is_per_layer()) => IdleWhy::OfNoLayer,
            Layers::All | Layers::Range(..) => IdleWhy::NoSuchLayer,
        }
    }
}

fn single(layer: u32) -> Layers {
    let layer = i32::try_from(layer).unwrap_or(i32::MAX - 1);
    Layers::Range(layer, Some(layer + 1))
}

impl FromStr for Pattern {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let wrong = || RecipeError::Pattern(text.to_owned());
        let pattern = |roles: &[Role], layers| Self {
            text: text.to_owned(),
            roles: roles.to_vec(),
            layers,
        };
        if let Some(rest) = text.strip_prefix("blk.") {
            let (layer, name) = rest.split_once('.').ok_or_else(wrong)?;
            let layers = if layer == "*" {
                Layers::Range(0, None)
            } else {
                single(layer.parse().map_err(|_| wrong())?)
            };
            let roles: Vec<Role> = Role::ALL
                .into_iter()
                .filter(|r| {
                    r.is_matrix() && r.is_per_layer() && (name == "*" || r.gguf_name() == name)
                })
                .collect();
            return if roles.is_empty() {
                Err(wrong())
            } else {
                Ok(pattern(&roles, layers))
            };
        }
        let (group, layers) = match text.split_once('@') {
            None => (text, Layers::All),
            Some((group, range)) => {
                let (from, to) = range.split_once("..").ok_or_else(wrong)?;
                let number = |s: &str| s.parse::<i32>().map_err(|_| wrong());
                let from = if from.is_empty() { 0 } else { number(from)? };
                let to = if to.is_empty() {
                    None
                } else {
                    Some(number(to)?)
                };
                (group, Layers::Range(from, to))
            }
        };
        let mut roles = named_roles(group);
        if roles.is_empty() {
            let is_alone = |r: &Role| r.is_matrix() && !r.is_per_layer();
            let exact = |r: &Role| is_alone(r) && r.gguf_name() == group;
            roles = Role::ALL.into_iter().filter(exact).collect();
        }
        if roles.is_empty() {
            return Err(wrong());
        }
        Ok(pattern(&roles, layers))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = RecipeError;

    fn try_from(text: String) -> Result<Self, RecipeError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_from_both_ends() {
        let check = |text: &str, layer: Option<u32>, expected: bool| {
            let pattern: Pattern = text.parse().unwrap();
            let role = if layer.is_some() {
                Role::Down
            } else {
                Role::Embedding
            };
            assert_eq!(
                pattern.matches(role, layer, 30),
                expected,
                "{text} {layer:?}"
            );
        };
        check("*", Some(29), true);
        check("*", None, true);
        check("feed-forward.*@0..4", Some(3), true);
        check("feed-forward.*@0..4", Some(4), false);
        check("feed-forward.*@-2..", Some(28), true);
        check("feed-forward.*@-2..", Some(27), false);
        check("*@..1", None, false);
        check("blk.*.ffn_down.weight", Some(7), true);
        check("blk.6.ffn_down.weight", Some(7), false);
        check("attention.*", Some(7), false);
        check("token_embd.weight", None, true);
    }

    #[test]
    fn a_name_means_all_matrices_those_of_a_part_or_one() {
        let check = |name: &str, expected: &[Role]| {
            assert_eq!(named_roles(name), expected, "{name}");
        };
        let attention = [Role::Query, Role::Key, Role::Value, Role::AttentionOutput];
        let feed_forward = [Role::Gate, Role::Up, Role::Down];
        check("attention.*", &attention);
        check("attention", &attention);
        check("feed-forward.*", &feed_forward);
        check("feed-forward", &feed_forward);
        check("attention.o", &[Role::AttentionOutput]);
        check("feed-forward.down", &[Role::Down]);
        check("embedding", &[Role::Embedding]);
        check("output", &[Role::Output]);
        check("embedding.*", &[]);
        check("attention.x", &[]);
        check("q", &[]);
        check("", &[]);
        assert_eq!(named_roles("*").len(), 9);
        for role in Role::ALL {
            match role_name(role) {
                Some(name) => assert_eq!(named_roles(&name), [role], "{name}"),
                None => assert!(!role.is_matrix(), "{role:?}"),
            }
        }
    }

    #[test]
    fn the_pattern_of_one_tensor_reads_back_as_itself() {
        for (role, layer) in [
            (Role::Down, Some(3)),
            (Role::Embedding, None),
            (Role::Output, None),
        ] {
            let pattern = Pattern::one(role, layer);
            assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern);
        }
    }
}
