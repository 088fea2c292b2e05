from django.contrib.auth.views import LoginView
from django.urls import path

from dragonbelly.contrib.django.uploads import direct_upload
from gallery import views

KINDS = ("jpg", "jpeg", "png", "gif", "webp")

urlpatterns = [
    path("", views.index, name="index"),
    path("upload", direct_upload("photos/%Y/%m", max_size=50 * 2**20, allowed_extensions=KINDS), name="upload"),
    path("photos/<int:pk>/original", views.original, name="original"),
    path("accounts/login/", LoginView.as_view(), name="login"),
]
