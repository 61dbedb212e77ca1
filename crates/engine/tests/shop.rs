//! The sample catalog that golden tests elsewhere are built on comes from a
//! real server, and stays what a real server says.

use std::path::PathBuf;

use pontoon_core::catalog::{Catalog, Server, TableSize};
use pontoon_core::name::TableName;
use pontoon_engine::db::postgres::introspect::{Request, read};
use pontoon_sandbox::{TestDatabase, test_versions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/fixtures")
        .join(name)
}

/// Gives fixed values to what differs between servers.
fn settle(catalog: &mut Catalog) {
    catalog.server = Server {
        version: 180_004,
        system_identifier: "7420000000000000001".into(),
        database: "shop".into(),
        compression: Vec::new(),
    };
    for (table, oid) in catalog.tables.values_mut().zip(16_400..) {
        table.oid = oid;
        table.owner = "shop".into();
        let rows: u64 = match table.name.name.as_str() {
            "customers" => 1_000_000,
            "orders" => 5_000_000,
            _ => 20_000_000,
        };
        table.size = TableSize {
            pages: rows / 100,
            rows: Some(rows),
            total_bytes: rows * 140,
        };
    }
}

#[tokio::test]
async fn the_shop_is_as_recorded() -> Outcome {
    for version in test_versions()? {
        let database = TestDatabase::create(version).await?;
        let client = database.client().await?;
        client
            .batch_execute(&std::fs::read_to_string(fixture("shop.sql"))?)
            .await?;
        let request = Request {
            schema: "public".into(),
            tables: ["customers", "orders", "order_items"]
                .map(|name| TableName::new("public", name))
                .to_vec(),
            questions: Vec::new(),
        };
        let mut catalog = read(&client, &request).await?;
        settle(&mut catalog);
        let path = fixture("shop.json");
        if std::env::var_os("PONTOON_WRITE_FIXTURES").is_some() {
            let mut text = serde_json::to_string_pretty(&catalog)?;
            text.push('\n');
            std::fs::write(&path, text)?;
        }
        let recorded: Catalog = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        assert_eq!(
            catalog, recorded,
            "PostgreSQL {version}; PONTOON_WRITE_FIXTURES=1 writes shop.json anew"
        );
    }
    Ok(())
}
