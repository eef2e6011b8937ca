//! Files that are fleets, and files that are not.

use super::*;

const GOOD: &str = r#"{"machines": [
    {"provider": "Equinix", "provider_id": "a", "ip_address": "127.0.4.1", "location": "fra2"},
    {"provider": "Lumen", "provider_id": "a", "machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c8"}
]}"#;

fn machine(fields: &str) -> String {
    format!("{{\"machines\": [\n{{{fields}}}\n]}}")
}

#[test]
fn a_fleet_is_read_in_the_order_of_the_file() {
    let fleet = Fleet::parse(GOOD).unwrap();
    let [first, second] = fleet.machines() else {
        panic!("{fleet:?}")
    };
    assert_eq!(first.provided.ip_address.as_deref(), Some("127.0.4.1"));
    assert_eq!(
        second.machine_id.to_string(),
        "67e55044-10b1-426f-9247-bb680e5fe0c8"
    );
    assert_eq!(fleet.clone().first(1).machines().len(), 1);
}

#[test]
fn an_error_names_its_line_and_field() {
    for (json, line, problem) in [
        ("", 1, "empty: expected {\"machines\""),
        ("\n\n", 3, "empty: expected {\"machines\""),
        ("provider,provider_id\nfra1,a\n", 1, "not JSON: expected"),
        ("{}", 1, "machines: missing"),
        (
            "{\"machine\": []}",
            1,
            "machine: unknown field, expected machines",
        ),
        (
            "{\"Machines\": []}",
            1,
            "Machines: unknown field, write machines",
        ),
        (
            "{\"machines\": {}}",
            1,
            "machines: expected a list of machines, not an object",
        ),
        (
            "{\"machines\": [], \"machines\": []}",
            1,
            "machines: repeated",
        ),
        (
            "{\"machines\": [\n[]]}",
            2,
            "expected a machine: an object, not a list",
        ),
        ("[[[]]]", 1, "expected an object with the field `machines`"),
        ("{\"machines\": []}\n}", 2, "expected value; what follows"),
        ("{\"machines\": [\nNaN]}", 2, "expected value; what follows"),
        (
            "{\"machines\": [\n{},]}",
            2,
            "trailing comma, or a value is missing; what follows",
        ),
        (
            &machine(r#""provider": "Equinix""#),
            2,
            "provider_id: missing",
        ),
        (&machine(r#""provider_id": "x""#), 2, "provider: missing"),
        (
            &machine(r#""provider": null, "provider_id": "x""#),
            2,
            "provider: missing",
        ),
        (
            &machine(r#""provider": "Equi nix", "provider_id": "x""#),
            2,
            "provider: \"Equi nix\"",
        ),
        (
            &machine(r#""provider": 5"#),
            2,
            "provider: \"5\": invalid provider name",
        ),
        (
            &machine(r#""provider": ["A"]"#),
            2,
            "provider: expected a text in quotes, not a list",
        ),
        (
            &machine(r#""provider": "A", "provider_id": 1e3"#),
            2,
            "provider_id: expected a text in quotes, not 1e3",
        ),
        (
            &machine(r#""provider": "A", "provider_id": """#),
            2,
            "provider_id: must not be empty",
        ),
        (
            &machine(r#""provider": "A", "provider": "B""#),
            2,
            "provider: repeated",
        ),
        (
            &machine(r#""provider_id": "a\u0000b""#),
            2,
            "provider_id: contains a NUL byte",
        ),
        (
            &machine(r#""provider_id": "a\ud800""#),
            2,
            "provider_id: an escape in it is no character",
        ),
        (
            &machine(r#""ip_address": "127.0.0.256""#),
            2,
            "ip_address: \"127.0.0.256\": invalid IP",
        ),
        (&machine(r#""machine_id": "12""#), 2, "machine_id: \"12\""),
        (
            &machine(r#""status": "running""#),
            2,
            "status: \"running\": unknown value",
        ),
        (
            &machine(r#""rack": "12""#),
            2,
            "rack: unknown field, expected machine_id, provider",
        ),
        (
            &machine(r#""providerID": "12""#),
            2,
            "providerID: unknown field, write provider_id",
        ),
        (
            &machine(r#""provider": "A", "provider_id": "a", "hold": {}"#),
            2,
            "hold.reason: missing",
        ),
        (
            &GOOD.replace("Lumen", "Equinix"),
            3,
            "provider_id: \"a\" of Equinix is listed twice",
        ),
    ] {
        let error = Fleet::parse(json).unwrap_err();
        let first = &error.problems()[0];
        assert!(first.problem.starts_with(problem), "{json}: {error}");
        assert_eq!(first.line, line, "{json}: {error}");
    }
}

/// Who mends a file wants to know all that is wrong with it, and not one line at a time.
#[test]
fn all_problems_are_listed_up_to_a_limit() {
    let json = "{\"machines\": [\n{\"provider\": 5, \"provider_id\": true},\r\n\
                {\"rack\": 1},\r{\"provider\": \"A\", \"provider_id\": \"a\"}]}";
    let error = Fleet::parse(json).unwrap_err();
    let lines: Vec<usize> = error.problems().iter().map(|p| p.line).collect();
    assert_eq!(lines, [2, 2, 3, 3, 3], "{error}");
    let many = format!("[{}]", vec!["{\"provider\": 5}"; 50].join(",\n"));
    let error = Fleet::parse(&many).unwrap_err();
    assert_eq!((error.problems().len(), error.further()), (20, 80));
    assert!(error.to_string().ends_with("and 80 further problems"));
}

/// Templates and other programs write `null`, empty texts and numbers where something is absent or plain.
#[test]
fn what_other_programs_write_is_taken() {
    let all = r#""machine_id": null, "ip_address": null, "location": "", "status": null,
                 "reservation_id": null, "hold": null"#;
    let fleet = Fleet::parse(&machine(&format!(
        r#""provider": " Equinix ", "provider_id": 17, {all}"#
    )));
    let fleet = fleet.unwrap();
    let provided = &fleet.machines()[0].provided;
    assert_eq!(
        (provided.provider.as_str(), provided.provider_id.as_str()),
        ("Equinix", "17")
    );
    assert_eq!((&provided.location, &provided.ip_address), (&None, &None));
    let same = |text: &str| {
        let read = Fleet::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let ids = read
            .machines()
            .iter()
            .map(|m| m.provided.provider_id.clone());
        assert_eq!(ids.collect::<Vec<_>>(), ["a", "a"], "{text}");
    };
    same(&format!("\u{feff}{GOOD}"));
    same(&GOOD.replace('\n', "\r\n\r\n\t"));
    same(&GOOD.replace('\n', "\r"));
    let rows: Vec<&str> = GOOD.lines().skip(1).take(2).collect();
    let [one, two] = [rows[0].trim().trim_end_matches(','), rows[1]];
    same(&format!("{one}\n\n{two}\n"));
    same(&format!("[{one}, {two}]"));
    same(&format!(
        "{{\"machines\": [{one}]}}{{\"machines\": []}}[]\n{{\"machines\": [{two}]}}"
    ));
    for empty in [
        "[]",
        "{\"machines\": []}",
        "{\"at\": \"\", \"items\": [], \"next\": null}",
    ] {
        assert_eq!(Fleet::parse(empty), Ok(Fleet::default()));
    }
}

/// Other bytes than UTF-8 are named, with what to do about them.
#[test]
fn a_file_that_is_no_text_in_utf_8_is_named() {
    let utf_16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [b"\xff\xfe", &utf_16[..]].concat();
    for (bytes, place, problem) in [
        (&with_mark[..], (1, 1), "UTF-16: convert it"),
        (&utf_16[..], (1, 1), "UTF-16: convert it"),
        (
            b"\x1f\x8b\x08\0",
            (1, 1),
            "compressed: unpack it first, with gunzip",
        ),
        (
            b"{\"machines\":\n \"\xe4\"}",
            (2, 3),
            "not UTF-8: byte 0xe4 at offset 15",
        ),
        (b"{\0", (1, 1), "UTF-16"),
    ] {
        let error = Fleet::read(bytes).unwrap_err();
        let first = &error.problems()[0];
        assert!(first.problem.starts_with(problem), "{error}");
        assert_eq!((first.line, first.column), place, "{error}");
    }
}

/// A hold that an import forgot would let work start on a broken machine.
#[test]
fn answers_of_lists_and_of_one_machine_are_fleets() {
    let page = r#"{"at": "2026-11-30T05:34:25.000000Z", "items": [
        {"machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "provider": null, "provider_id": null,
         "ip_address": null, "location": null, "status": null, "hold": null, "processes": []},
        {"machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c9", "provider": "fra1", "provider_id": "a",
         "ip_address": "10.0.0.7", "location": "rack", "status": "Running",
         "hold": {"reason": "fan", "since": "infinity"}, "processes": [{"process": "AcmeWipe"}]}
    ], "next": "m.67e55044"}"#;
    let fleet = Fleet::parse(page).unwrap();
    assert_eq!(fleet.without_provider().len(), 1);
    assert_eq!(fleet.holds()[0].1, "fan");
    assert_eq!(fleet.notes()[0], "not imported: processes (of 1 machine)");
    assert!(fleet.notes()[1].contains("--all"), "{:?}", fleet.notes());

    let shown = r#"{"at": "…", "machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "version": 3,
        "created_at": "…", "hold": {"reason": "fan", "since": "…"},
        "tags": {"machine_provided": {"provider": "fra1", "provider_id": "a", "provider_status": "Stopped",
                 "provider_ip_address": null, "provider_location": "x", "provider_reservation_id": "r"},
                 "machine_hold": {"reason": "fan", "since": "…"},
                 "machine_agent_started": {"agent_started_at": "…"}},
        "processes": [], "work": []}"#;
    let fleet = Fleet::parse(shown).unwrap();
    let provided = &fleet.machines()[0].provided;
    assert_eq!(provided.reservation_id.as_deref(), Some("r"));
    assert_eq!(
        provided.status.map(|status| status.as_str()),
        Some("Stopped")
    );
    assert_eq!(fleet.holds().len(), 1);
    assert_eq!(
        fleet.notes(),
        [
            "not imported: created_at (of 1 machine), tags.machine_agent_started (of 1 machine), \
          version (of 1 machine)"
        ]
    );
}
