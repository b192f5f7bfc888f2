"""Teams. What there was belongs to the team "default", with everybody in it: superusers as admins, all others as operators, who may
submit, steer and schedule as before. (They see each other's goals now: that is what a team is.) A new installation gets it later."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ROLES = ['viewer', 'operator', 'approver', 'auditor', 'admin']
OWNED = {'goal': 'goals', 'recurringgoal': 'recurring_goals', 'repository': 'repositories'}


def into_one_team(apps, schema_editor):
    model = lambda name: apps.get_model('orchestration', name).objects  # noqa: E731
    users = apps.get_model(*settings.AUTH_USER_MODEL.split('.')).objects.order_by('pk')
    if not users.exists() and not any(model(name).exists() for name in OWNED):
        return
    team = model('Team').create(name='default')
    for user in users:
        role = 'admin' if user.is_superuser else 'operator'
        model('Membership').create(team=team, user=user, role=role)
        model('TeamEvent').create(team=team, kind='member.added', subject=user.username, new=role, by='migration')
    for name in OWNED:
        model(name).update(team=team)


def team(name, **null):
    return models.ForeignKey(
        on_delete=django.db.models.deletion.PROTECT, related_name=OWNED[name], to='orchestration.team', **null
    )


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('orchestration', '0004_breakers'),
    ]

    operations = [
        migrations.CreateModel(
            name='Team',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=60, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={'ordering': ['name']},
        ),
        migrations.CreateModel(
            name='TeamEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(help_text='team.created, member.added, member.role, member.removed', max_length=40)),
                ('subject', models.CharField(blank=True, default='', help_text="the user's name", max_length=150)),
                ('old', models.CharField(blank=True, default='', max_length=20)),
                ('new', models.CharField(blank=True, default='', max_length=20)),
                ('by', models.CharField(max_length=200)),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='orchestration.team')),
            ],
            options={'ordering': ['-id']},
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[(role, role) for role in ROLES], max_length=10)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='orchestration.team')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['team', 'user'],
                'constraints': [
                    models.UniqueConstraint(fields=('team', 'user'), name='membership_unique'),
                    models.CheckConstraint(condition=models.Q(('role__in', ROLES)), name='membership_role_known'),
                ],
            },
        ),
        *[migrations.AddField(name, 'team', team(name, null=True)) for name in OWNED],
        migrations.RunPython(into_one_team, migrations.RunPython.noop),
        *[migrations.AlterField(name, 'team', team(name)) for name in OWNED],
        migrations.AlterField('repository', 'path', models.CharField(max_length=1000)),
        migrations.AddConstraint(
            'repository', models.UniqueConstraint(fields=('team', 'path'), name='repository_path_unique')
        ),
    ]
