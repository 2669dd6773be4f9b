"""Tables in, Plotly figures out. Pure functions; no torch, no Streamlit."""
