"""The service over HTTP: the web app, its API, and the API in OpenAI's form. What a route does is a function below.

A file of routes for each subject: `people`, `chats`, `signals`, `teach`, `versions`, `status`, `openai_api`, `pages`;
`app` says who may use them. The rest carries requests: `start`, `state`, `guard`, `stream`, `making`.
"""
