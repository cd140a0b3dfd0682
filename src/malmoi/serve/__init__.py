"""The service over HTTP: pages, their API, and the API in OpenAI's form. What a page does is a function below."""
