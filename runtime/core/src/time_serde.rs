//! Timestamps in text: milliseconds since the Unix epoch, as a number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.as_millis())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_a_number() {
        let read = |text| serde_json::from_str::<Timestamp>(text).ok().map(Timestamp::as_millis);
        assert_eq!(read("-1500"), Some(-1_500));
        assert_eq!([read("1.5"), read("\"1\""), read("99999999999999999999")], [None; 3]);
        let written = serde_json::to_string(&Timestamp::from_millis(7));
        assert_eq!(written.ok().as_deref(), Some("7"));
    }
}
