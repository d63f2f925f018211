//! The rotator `mysql`, on both kinds of servers.

/// Tests of either family, each with a server of its own.
macro_rules! for_both {
    ($($test:ident),+ $(,)?) => {
        mod mariadb {
            use keystead_cluster::MariaDb;

            use crate::mysql_and_mariadb::bed::Bed;

            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Bed::<MariaDb>::new().await).await;
                }
            )+
        }

        mod mysql {
            use keystead_cluster::MySql;

            use crate::mysql_and_mariadb::bed::Bed;

            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Bed::<MySql>::new().await).await;
                }
            )+
        }
    };
}

mod bed;
mod both;
mod mariadb;
mod mysql;
