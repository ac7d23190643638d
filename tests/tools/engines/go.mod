module github.com/upcommerce/backout/tests/tools/engines

go 1.26.7

toolchain go1.26.10
