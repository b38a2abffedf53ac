"""`python -m tools.docs`: brings the generated parts of the documents up to date."""

from __future__ import annotations

from tools.docs.generated_parts import update_documents

if __name__ == "__main__":
    update_documents()
