"""The REST API, `/api/v1/`: each endpoint calls the service that the page calls."""
