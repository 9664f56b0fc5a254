//! Parameters of a job: typed values, and the one rule that makes a value of what a person types.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// One parameter of a job, read by its executor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Param {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

/// A job's parameters, by name.
pub type Params = BTreeMap<String, Param>;

/// Why a value cannot be a parameter: a whole number that does not fit. Kept as a number it would become another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not fit: whole numbers go from {min} to {max}; pass it as text", min = i64::MIN, max = i64::MAX)]
pub struct UnfitNumber(pub String);

impl Param {
    /// What a person types keeps its text unless it is unmistakably `true`, `false` or a number, which means that the number prints
    /// back the same: `42`, `-3` and `0.5` are numbers; `007`, `1.0`, `1e3`, `0x10`, `+5`, `-0`, `NaN` and ` 5` are text.
    pub fn from_text(text: &str) -> Result<Self, UnfitNumber> {
        match text {
            "true" => return Ok(Param::Bool(true)),
            "false" => return Ok(Param::Bool(false)),
            _ => {}
        }
        if is_whole(text) {
            return Self::from_digits(text);
        }
        let number = Some(text).filter(|text| is_decimal(text)).and_then(|text| text.parse::<f64>().ok());
        Ok(match number {
            Some(number) if number.to_string() == text => Param::Float(number),
            Some(_) | None => Param::Text(text.to_owned()),
        })
    }

    /// A whole number as JSON writes it.
    pub fn from_digits(digits: &str) -> Result<Self, UnfitNumber> {
        digits.parse().map(Param::Int).map_err(|_| UnfitNumber(digits.chars().take(40).collect()))
    }

    /// The value as a floating point number, when it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Param::Int(value) => Some(*value as f64),
            Param::Float(value) => Some(*value),
            Param::Bool(_) | Param::Text(_) => None,
        }
    }

    /// The value as a non-negative whole number, when it is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Param::Int(value) => u64::try_from(*value).ok(),
            Param::Bool(_) | Param::Float(_) | Param::Text(_) => None,
        }
    }
}

/// As a person would type it; text that would be read as something else stands in quotation marks.
impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Param::Bool(value) => write!(f, "{value}"),
            Param::Int(value) => write!(f, "{value}"),
            Param::Float(value) => write!(f, "{value:?}"),
            Param::Text(text) if is_plain(text) => f.write_str(text),
            Param::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Whether text is told apart from a number, a flag and what stands around it. The page has the same rule.
fn is_plain(text: &str) -> bool {
    let looks_like_a_number = text.strip_prefix('-').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit());
    !text.is_empty() && text.trim() == text && !text.contains(['"', ',', '\n']) && text != "true" && text != "false" && !looks_like_a_number
}

/// `0`, `42`, `-3`: an optional minus, no leading zero, and no `-0`.
pub fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (!digits.starts_with('0') || text == "0")
}

/// A whole part, a point and digits.
fn is_decimal(text: &str) -> bool {
    let Some((whole, digits)) = text.split_once('.') else { return false };
    (is_whole(whole) || whole == "-0") && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl<'de> Deserialize<'de> for Param {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Typed)
    }
}

/// Takes a value for what it is. A whole number that does not fit is refused: as a floating point number it would be another one.
struct Typed;

impl de::Visitor<'_> for Typed {
    type Value = Param;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false, a number or text")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Param, E> {
        Ok(Param::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Param, E> {
        Ok(Param::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Param, E> {
        i64::try_from(value).map(Param::Int).map_err(|_| E::custom(UnfitNumber(value.to_string())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Param, E> {
        Ok(Param::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Param, E> {
        Ok(Param::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Param, E> {
        Ok(Param::Text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that the command and the REST API are tested with, too.
    const CASES: &str = include_str!("param_cases.json");

    #[derive(Deserialize)]
    struct Case {
        typed: String,
        /// None: refused.
        value: Option<Param>,
    }

    #[test]
    fn what_a_person_types_is_a_number_only_when_it_prints_back_the_same() {
        let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
        assert!(cases.len() > 40, "{}", cases.len());
        for Case { typed, value } in cases {
            assert_eq!(Param::from_text(&typed).ok(), value, "{typed:?}");
        }
    }

    #[test]
    fn a_refused_number_says_the_bounds_and_the_remedy() {
        let refused = Param::from_text("9223372036854775808").unwrap_err().to_string();
        assert!(
            refused.contains("9223372036854775808 does not fit") && refused.contains("9223372036854775807; pass it as text"),
            "{refused}"
        );
    }

    #[test]
    fn a_typed_value_stays_what_it_is() {
        let read = |json: &str| serde_json::from_str::<Param>(json).map_err(|error| error.to_string());
        assert_eq!(read("1.0"), Ok(Param::Float(1.0)));
        assert_eq!(read("1e3"), Ok(Param::Float(1000.0)));
        assert_eq!(read("\"12\""), Ok(Param::Text("12".into())));
        assert_eq!(read("-9223372036854775808"), Ok(Param::Int(i64::MIN)));
        assert!(read("18446744073709551615").unwrap_err().contains("does not fit"));
        assert!(read("[1]").unwrap_err().contains("true or false, a number or text"));
    }

    #[test]
    fn a_value_is_shown_as_it_would_be_typed() {
        let shown = |param: Param| param.to_string();
        assert_eq!(shown(Param::Text("12".into())), "\"12\"");
        assert_eq!((shown(Param::Text("007".into())), shown(Param::Text("seven".into()))), ("\"007\"".into(), "seven".into()));
        assert_eq!(shown(Param::Text(String::new())), "\"\"");
        assert_eq!((shown(Param::Int(12)), shown(Param::Float(1.0)), shown(Param::Bool(true))), ("12".into(), "1.0".into(), "true".into()));
    }

    proptest::proptest! {
        #[test]
        fn every_value_prints_back_as_it_was_typed(text in "[-+]?[0-9]{0,24}(\\.[0-9]{0,24})?([eE][-+]?[0-9]{1,3})?") {
            match Param::from_text(&text) {
                Ok(Param::Int(value)) => proptest::prop_assert_eq!(value.to_string(), text),
                Ok(Param::Float(value)) => proptest::prop_assert_eq!(value.to_string(), text),
                Ok(Param::Bool(_)) => proptest::prop_assert!(false),
                Ok(Param::Text(value)) => proptest::prop_assert_eq!(value, text),
                Err(_) => proptest::prop_assert!(text.parse::<i64>().is_err()),
            }
        }
    }
}
