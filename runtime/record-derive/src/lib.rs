//! The derive of Record and Key.
