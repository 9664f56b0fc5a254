//! Reads settings out of TOML values. A text may stand for a number or for true and false, since variables of the environment are texts;
//! nothing else is taken for what it is not. Mistakes are worded here, where the parts of each are at hand.

use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value;

/// What is wrong with one value, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mistake(String);

impl Error for Mistake {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid type: {}, expected {}", in_digits(found), in_words(&expected.to_string())))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid value: {}, expected {}", in_digits(found), in_words(&expected.to_string())))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self(format!("unknown value `{found}`, expected {}", OneOf(known)))
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        Self(format!("unknown field `{found}`, expected {}", OneOf(known)))
    }
}

/// serde would write all hundred digits of 1e99.
fn in_digits(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Float(number) => format!("floating point `{number:?}`"),
        other => other.to_string(),
    }
}

struct OneOf(&'static [&'static str]);

impl Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|name| format!("`{name}`")).collect();
        f.write_str(if names.len() > 1 { "one of " } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// What serde expects, for people who do not write Rust.
fn in_words(expected: &str) -> String {
    let at_most = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "u8" => at_most(u8::MAX.into()),
        "u16" => at_most(u16::MAX.into()),
        "u32" => at_most(u32::MAX.into()),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        "a string" | "path string" => "a text in quotation marks".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// A value that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a Value);

impl<'a> Reader<'a> {
    fn unexpected(self) -> Unexpected<'a> {
        match self.0 {
            Value::String(text) => Unexpected::Str(text),
            Value::Integer(number) => Unexpected::Signed(*number),
            Value::Float(number) => Unexpected::Float(*number),
            Value::Boolean(is_true) => Unexpected::Bool(*is_true),
            Value::Datetime(_) => Unexpected::Other("date"),
            Value::Array(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
        }
    }

    fn whole_number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Value::String(text) = self.0 else { return self.deserialize_any(visitor) };
        match (text.parse(), text.parse()) {
            (Ok(number), _) => visitor.visit_i64(number),
            (Err(_), Ok(number)) => visitor.visit_u64(number),
            (Err(_), Err(_)) => Err(Mistake::invalid_type(self.unexpected(), &visitor)),
        }
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Value::String(text) = self.0 else { return self.deserialize_any(visitor) };
        match text.parse() {
            Ok(number) => visitor.visit_f64(number),
            Err(_) => Err(Mistake::invalid_type(self.unexpected(), &visitor)),
        }
    }
}

impl<'a> IntoDeserializer<'a, Mistake> for Reader<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! read_as {
    ($reader:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.$reader(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(is_true) => visitor.visit_bool(*is_true),
            Value::Datetime(_) => Err(Mistake::invalid_type(self.unexpected(), &visitor)),
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.iter().map(Reader))),
            Value::Table(table) => visitor.visit_map(MapDeserializer::new(table.iter().map(|(key, value)| (key.as_str(), Reader(value))))),
        }
    }

    read_as!(whole_number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    read_as!(number: deserialize_f32 deserialize_f64);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Value::String(text) = self.0 else { return self.deserialize_any(visitor) };
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => visitor.visit_bool(true),
            "false" | "no" | "off" | "0" => visitor.visit_bool(false),
            _ => Err(Mistake::invalid_type(self.unexpected(), &visitor)),
        }
    }

    /// A setting that is not given has no value, so a value is always present.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            _ => Err(Mistake(format!("invalid type: {}, expected {}", in_digits(self.unexpected()), OneOf(names)))),
        }
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
