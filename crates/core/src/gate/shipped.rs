//! The rule files of the repository, in the binary.

type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal)*) => {
        [$((concat!("rules/", $path, ".toml"), include_str!(concat!("../../../../rules/", $path, ".toml")))),*]
    };
}

/// Calendars: name of the file, and its text.
pub(super) const CALENDARS: [File; 3] =
    files!["calendars/us-federal" "calendars/au-national" "calendars/fr-national"];

/// Profiles: name of the file, and its text.
pub(super) const PROFILES: [File; 29] = files![
    "us-ftc"
    "us-fcc"
    "us-cfpb"
    "us-fl"
    "us-ok"
    "us-md"
    "us-wa"
    "us-tx"
    "us-ct"
    "us-pa"
    "us-al"
    "us-la"
    "us-ms"
    "us-ky"
    "us-or"
    "us-va"
    "uk-ofcom"
    "de"
    "fr"
    "es"
    "ca"
    "au"
    "in"
    "cn"
    "hk"
    "sg"
    "jp"
    "br"
    "litigation"
];
