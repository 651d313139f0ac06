//! `docs/authorisation.md` has the table as the code has it.

use ring0_identity::permission::markdown;

#[test]
fn the_documents_table_is_the_codes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/authorisation.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- table: begins -->\n", "<!-- table: ends -->");
    let table = text.split_once(begin).and_then(|it| it.1.split_once(end));
    let table = table.expect("the marks of the table").0.trim();
    assert!(
        table == markdown().trim(),
        "docs/authorisation.md has another table than the code; put this between its marks:\n{}",
        markdown()
    );
}
