//! What a program says of an operator's states, and whether a checkpoint says the same.
//!
//! A descriptor is data: a name, a kind, and for each field its name and type, from the record's schema. A
//! checkpoint holds the descriptors of each operator; restore compares before it reads a row.
//!
//! | checkpoint has        | program has          | restore                                            |
//! |-----------------------|----------------------|----------------------------------------------------|
//! | the state             | the same             | goes on                                            |
//! | the state             | another type or kind | error: names field and fix                         |
//! | the state             | a type made from it  | goes on: its values are converted                  |
//! | the state             | nothing              | error: names the state                             |
//! | nothing               | the state            | goes on: the state starts empty                    |
//!
//! As bytes: version u32 = 1, number of states u32, and per state: name, kind u8, expires u8, name of the type, hash u64,
//! number of fields u32, and per field its name and the name of its type. Little-endian; a text is its length u32 and
//! its bytes.

use std::fmt;

use crate::{TableError, reader::Reader};

const VERSION: u32 = 1;

/// Kinds by their number in bytes.
const KINDS: [StateKind; 8] = [
    StateKind::Value,
    StateKind::List,
    StateKind::Map,
    StateKind::Reducing,
    StateKind::Aggregating,
    StateKind::OperatorList,
    StateKind::UnionList,
    StateKind::Broadcast,
];

/// What a state is to its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateKind {
    /// One value.
    Value,
    /// A list; an element is a row.
    List,
    /// A map; an entry is a row.
    Map,
    /// A value that is combined with each added one.
    Reducing,
    /// An accumulator of another type than what is added.
    Aggregating,
    /// A list of a subtask; after a rescale its elements are dealt out anew.
    OperatorList,
    /// A list of a subtask; after a restore each has the elements of all.
    UnionList,
    /// A map of which every subtask has the same copy.
    Broadcast,
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::OperatorList => "operator list",
            Self::UnionList => "union list",
            Self::Broadcast => "broadcast",
        })
    }
}

/// Name, fields and hash of what a state holds: the parts of a record's schema that a checkpoint keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSchema {
    /// The type's name.
    pub name: String,
    /// Its fields, as (name, type).
    pub fields: Vec<(String, String)>,
    /// The schema's hash: over names, types and version, all the way down.
    pub hash: u64,
}

/// One state of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDescriptor {
    /// Unique in its operator.
    pub name: String,
    /// What it is.
    pub kind: StateKind,
    /// Whether what it holds expires: then times lie beside it. A restore adds them, or leaves them out.
    pub expires: bool,
    /// What it holds.
    pub schema: StateSchema,
}

/// All states of one operator.
///
/// ```
/// use wiesel_state::{OperatorStateSchema, StateDescriptor, StateKind, StateSchema};
///
/// let with = |ty: &str, hash| {
///     let fields = vec![("sum".to_owned(), ty.to_owned())];
///     let schema = StateSchema { name: "Total".to_owned(), fields, hash };
///     let state = StateDescriptor { name: "total".to_owned(), kind: StateKind::Value, expires: false, schema };
///     OperatorStateSchema::new("orders", vec![state]).unwrap()
/// };
/// assert!(with("u64", 1).check_restore(&with("u64", 1)).is_ok());
/// assert_eq!(
///     with("f64", 2).check_restore(&with("u64", 1)).unwrap_err().to_string(),
///     "operator `orders`, state `total`: field `sum` of Total was u64 and is f64; \
///      keep the old type under this name, and give a new state another"
/// );
/// // A program that can make the one of the other says so.
/// assert!(with("f64", 2).check_restore_with(&with("u64", 1), |_| Ok(())).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStateSchema {
    operator: String,
    states: Vec<StateDescriptor>,
}

impl OperatorStateSchema {
    /// The states of the operator with this uid.
    ///
    /// # Errors
    ///
    /// If two have one name.
    pub fn new(operator: &str, states: Vec<StateDescriptor>) -> Result<Self, TableError> {
        for (at, state) in states.iter().enumerate() {
            if states[..at].iter().any(|other| other.name == state.name) {
                return Err(TableError::NameTwice { name: state.name.clone() });
            }
        }
        Ok(Self { operator: operator.to_owned(), states })
    }

    /// The operator's uid.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The states, as declared.
    pub fn states(&self) -> &[StateDescriptor] {
        &self.states
    }

    /// Appends it as bytes for [`OperatorStateSchema::read`].
    pub fn write(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.states.len() as u32).to_le_bytes());
        for StateDescriptor { name, kind, expires, schema } in &self.states {
            text(out, name);
            let kind = KINDS.iter().position(|known| known == kind).unwrap_or(KINDS.len());
            out.extend_from_slice(&[kind as u8, u8::from(*expires)]);
            text(out, &schema.name);
            out.extend_from_slice(&schema.hash.to_le_bytes());
            out.extend_from_slice(&(schema.fields.len() as u32).to_le_bytes());
            for (field, type_name) in &schema.fields {
                text(out, field);
                text(out, type_name);
            }
        }
    }

    /// The states of the operator with this uid, from bytes that may be anything.
    ///
    /// # Errors
    ///
    /// If they are not what [`OperatorStateSchema::write`] wrote.
    pub fn read(operator: &str, bytes: &[u8]) -> Result<Self, TableError> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.u32()?;
        if version != VERSION {
            return Err(TableError::Version { found: version, known: VERSION });
        }
        let mut states = Vec::new();
        for _ in 0..reader.u32()? {
            let name = reader.text()?;
            let [kind, expires] = [reader.take(1)?[0], reader.take(1)?[0]];
            let expires = match expires {
                0 => false,
                1 => true,
                _ => return Err(reader.corrupt("neither yes nor no")),
            };
            let Some(kind) = KINDS.get(usize::from(kind)).copied() else {
                return Err(reader.corrupt("a state of an unknown kind"));
            };
            let (type_name, hash) = (reader.text()?, reader.u64()?);
            let mut fields = Vec::new();
            for _ in 0..reader.u32()? {
                fields.push((reader.text()?, reader.text()?));
            }
            let schema = StateSchema { name: type_name, fields, hash };
            states.push(StateDescriptor { name, kind, expires, schema });
        }
        if reader.at != bytes.len() {
            return Err(reader.corrupt("bytes behind the last state"));
        }
        Self::new(operator, states)
    }

    /// Whether what a checkpoint holds can be read by this program.
    ///
    /// # Errors
    ///
    /// For the first state of the checkpoint that is not here, or is something else here.
    pub fn check_restore(&self, checkpoint: &Self) -> Result<(), TableError> {
        let fix = "keep the old type under this name, and give a new state another";
        self.check_restore_with(checkpoint, |_| Err(fix))
    }

    /// As [`check_restore`](Self::check_restore), for a program that can make what some states hold of what the checkpoint
    /// has. Of each state that held another type `migrates` says that it can, or what to do.
    ///
    /// # Errors
    ///
    /// As `check_restore`, but for those that it can.
    pub fn check_restore_with(
        &self,
        checkpoint: &Self,
        migrates: impl Fn(&StateDescriptor) -> Result<(), &'static str>,
    ) -> Result<(), TableError> {
        checkpoint.states.iter().try_for_each(|old| self.check_state(old, &migrates))
    }

    fn check_state(
        &self,
        old: &StateDescriptor,
        migrates: &dyn Fn(&StateDescriptor) -> Result<(), &'static str>,
    ) -> Result<(), TableError> {
        let mismatch = |what: String, fix: &str| {
            Err(TableError::SchemaMismatch {
                operator: self.operator.clone(),
                state: old.name.clone(),
                what,
                fix: fix.to_owned(),
            })
        };
        let Some(new) = self.states.iter().find(|state| state.name == old.name) else {
            return mismatch(
                "the checkpoint has it and the program does not".to_owned(),
                "declare it, if only to clear it",
            );
        };
        if new.kind != old.kind {
            return mismatch(
                format!("it was a {} state and is a {} state", old.kind, new.kind),
                "keep the old state under this name, and give a new one another",
            );
        }
        if new.schema.hash == old.schema.hash {
            return Ok(());
        }
        migrates(old).or_else(|fix| mismatch(difference(&old.schema, &new.schema), fix))
    }
}

/// The first thing that differs, in words.
fn difference(old: &StateSchema, new: &StateSchema) -> String {
    let name = &new.name;
    for (field, old_type) in &old.fields {
        match new.fields.iter().find(|(other, _)| other == field) {
            None => return format!("field `{field}` of {name} is gone"),
            Some((_, new_type)) if new_type != old_type => {
                return format!("field `{field}` of {name} was {old_type} and is {new_type}");
            }
            Some(_) => {}
        }
    }
    let added = new.fields.iter().find(|(field, _)| old.fields.iter().all(|(o, _)| o != field));
    if let Some((field, _)) = added {
        return format!("field `{field}` of {name} is new");
    }
    if old.name != new.name {
        return format!("it held {} and holds {name}", old.name);
    }
    let places = old.fields.iter().zip(&new.fields);
    match places.into_iter().find(|(old, new)| old.0 != new.0) {
        Some(((old, _), (new, _))) => {
            format!("fields of {name} changed places: `{new}` is where `{old}` was")
        }
        None => {
            format!("{name} is the same by name, but a type inside of it or its version changed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind name Type field:type …` a line; the hash is of the line without its name.
    fn schema(lines: &[&str]) -> OperatorStateSchema {
        let state = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let kind = [StateKind::Value, StateKind::Map]
                .into_iter()
                .find(|kind| kind.to_string() == words[0])
                .unwrap();
            let fields = words[3..].iter().map(|field| {
                let (name, ty) = field.split_once(':').unwrap();
                (name.to_owned(), ty.to_owned())
            });
            let hash =
                words[2..].join(" ").bytes().fold(7_u64, |h, b| h * 31 % 1_000_003 + u64::from(b));
            let schema = StateSchema { name: words[2].to_owned(), fields: fields.collect(), hash };
            StateDescriptor { name: words[1].to_owned(), kind, expires: false, schema }
        };
        OperatorStateSchema::new("op", lines.iter().map(state).collect()).unwrap()
    }

    fn check(old: &[&str], new: &[&str], expected: Option<&str>) {
        let found = schema(new).check_restore(&schema(old)).err().map(|error| error.to_string());
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("{old:?} into {new:?}: {found:?}"),
        }
    }

    #[test]
    fn a_mismatch_names_operator_state_field_and_fix() {
        let old = &["value s T a:u64 b:str"];
        check(old, old, None);
        check(&[], old, None);
        check(old, &["value t U", "value s T a:u64 b:str"], None);
        check(
            old,
            &[],
            Some(
                "operator `op`, state `s`: the checkpoint has it and the program does not; declare",
            ),
        );
        check(old, &["map s T a:u64 b:str"], Some("was a value state and is a map state; keep"));
        check(old, &["value s T a:u64"], Some("field `b` of T is gone"));
        check(old, &["value s T a:i64 b:str"], Some("field `a` of T was u64 and is i64; keep"));
        check(old, &["value s T a:u64 b:str c:u8"], Some("field `c` of T is new"));
        check(old, &["value s U a:u64 b:str"], Some("it held T and holds U"));
        check(old, &["value s T b:str a:u64"], Some("`b` is where `a` was"));
        let mut deep = schema(old);
        deep.states[0].schema.hash += 1;
        let error = deep.check_restore(&schema(old)).unwrap_err();
        assert!(
            error.to_string().contains("a type inside of it or its version changed"),
            "{error}"
        );
    }

    #[test]
    fn it_is_the_same_behind_bytes_and_damage_is_an_error() {
        let mut states = schema(&["value s T a:u64 b:str", "map m U", "value last V c:i8"]);
        states.states[1].expires = true;
        let mut bytes = Vec::new();
        states.write(&mut bytes);
        assert_eq!(OperatorStateSchema::read("op", &bytes), Ok(states.clone()));
        for end in 0..bytes.len() {
            assert!(OperatorStateSchema::read("op", &bytes[..end]).is_err(), "cut off at {end}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xa5;
            // Another text or number is not seen here; what matters is that nothing panics.
            let read = OperatorStateSchema::read("op", &damaged);
            assert_ne!(read, Ok(states.clone()), "byte {at} says nothing");
        }
    }

    #[test]
    fn a_name_is_used_once() {
        let state = schema(&["value s T"]).states[0].clone();
        let error = OperatorStateSchema::new("op", vec![state.clone(), state]).unwrap_err();
        assert_eq!(error, TableError::NameTwice { name: "s".to_owned() });
    }
}
