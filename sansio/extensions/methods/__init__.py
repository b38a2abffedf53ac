"""The extension methods as one table: parameters, results, errors."""
