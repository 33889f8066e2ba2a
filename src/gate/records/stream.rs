//! Reading `repodata.json` as it comes: each record is looked at and let go, so that an index takes the memory of what
//! is remembered of it, whatever else it holds. Owns that; must not know what a record has to say.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::leads::{Info, Relations};
use super::{Glance, Records, Unfit};
use crate::repodata::is_path_to_channel;
use crate::repodata::shards::is_section;

/// What was read so far, and why it may not be read on.
#[derive(Debug)]
pub(super) struct Taking {
    pub records: Records,
    pub unfit: Option<Unfit>,
    relations: Relations,
}

impl Taking {
    pub fn of(relations: Relations) -> Taking {
        Taking {
            records: Records::default(),
            unfit: None,
            relations,
        }
    }

    fn hold<E: serde::de::Error>(&mut self, done: Result<(), Unfit>) -> Result<(), E> {
        done.map_err(|unfit| {
            self.unfit = Some(unfit);
            E::custom("unfit")
        })
    }
}

/// A part of the document, and who takes what it holds.
pub(super) enum Part<'a> {
    Document(&'a mut Taking),
    /// Records by file name; by stem, where the ending is given.
    Section(&'a mut Taking, Option<String>),
    /// Sections by ending.
    Third(&'a mut Taking),
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self {
            Part::Document(taking) => {
                while let Some(key) = map.next_key::<String>()? {
                    member(taking, &key, &mut map)?;
                }
            }
            Part::Section(taking, ending) => {
                while let Some(name) = map.next_key::<String>()? {
                    let name = match &ending {
                        Some(ending) => format!("{name}.{ending}"),
                        None => name,
                    };
                    let glance = map.next_value::<Glance>()?;
                    let added = taking.records.add(name, glance);
                    taking.hold(added)?;
                }
            }
            Part::Third(taking) => {
                while let Some(ending) = map.next_key::<String>()? {
                    map.next_value_seed(Part::Section(taking, Some(ending)))?;
                }
            }
        }
        Ok(())
    }
}

/// A member of the document.
fn member<'de, A: MapAccess<'de>>(
    taking: &mut Taking,
    key: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    match key {
        "info" => {
            let info = map.next_value::<Option<Info>>()?;
            taking.hold(info.unwrap_or_default().is_fit(taking.relations))
        }
        // Of wheels, too, in which clients would go past the gate.
        key if is_section(key) => map.next_value_seed(Part::Section(taking, None)),
        "v3" => map.next_value_seed(Part::Third(taking)),
        _ => map.next_value::<IgnoredAny>().map(drop),
    }
}

/// A text; nothing where something else stands, which is passed over.
#[derive(Debug)]
pub(super) struct Text(pub Option<String>);

/// What a record says of its signature, if that is an object; else nothing.
#[derive(Debug, Default)]
pub(super) struct Note {
    pub key: Option<Text>,
    pub value: Option<Text>,
}

/// Where a value leads clients; of several places, one that is away from the gate if one is.
#[derive(Debug, Default)]
pub(super) enum Lead {
    #[default]
    Nowhere,
    /// To a channel beside this one.
    Beside(String),
    Away(String),
}

/// Which of them is read.
struct Any<T>(std::marker::PhantomData<T>);

/// What may be read of anything.
trait FromAny: Sized {
    fn nothing() -> Self;
    /// Of what is neither nothing, nor a text, nor an object.
    fn of_other() -> Self {
        Self::nothing()
    }
    fn of_text(_: &str) -> Self {
        Self::nothing()
    }
    fn of_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        pass_over(map)?;
        Ok(Self::nothing())
    }
}

fn pass_over<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl FromAny for Text {
    fn nothing() -> Text {
        Text(None)
    }

    fn of_text(text: &str) -> Text {
        Text(Some(text.to_owned()))
    }
}

impl FromAny for Note {
    fn nothing() -> Note {
        Note::default()
    }

    fn of_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Note, A::Error> {
        let mut note = Note::default();
        while let Some(key) = map.next_key::<String>()? {
            let place = match key.as_str() {
                "key" => &mut note.key,
                "value" => &mut note.value,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if place.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a signature says something twice"));
            }
        }
        Ok(note)
    }
}

impl FromAny for Lead {
    fn nothing() -> Lead {
        Lead::Nowhere
    }

    fn of_other() -> Lead {
        Lead::Away("what is no text".to_owned())
    }

    fn of_text(text: &str) -> Lead {
        match is_path_to_channel(text) {
            true => Lead::Beside(text.to_owned()),
            false => Lead::Away(text.to_owned()),
        }
    }

    fn of_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Lead, A::Error> {
        let mut found = Lead::Nowhere;
        while map.next_key::<IgnoredAny>()?.is_some() {
            match (&found, map.next_value::<Lead>()?) {
                (Lead::Away(_), _) | (_, Lead::Nowhere) => {}
                (_, lead) => found = lead,
            }
        }
        Ok(found)
    }
}

impl<'de, T: FromAny> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::of_other())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::of_other())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::of_other())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::of_other())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::nothing())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::of_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::of_other())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::of_map(map)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        from.deserialize_any(Any(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Note, D::Error> {
        from.deserialize_any(Any(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Lead {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Lead, D::Error> {
        from.deserialize_any(Any(std::marker::PhantomData))
    }
}
