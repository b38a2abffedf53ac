"""Documents that are published from the table of methods: cards, contracts, OpenAPI, reference."""
